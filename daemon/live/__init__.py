"""A running night, seen and steered: publishing, following, orders."""
