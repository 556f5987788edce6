"""Statistics of counts: numbers in, numbers out."""
