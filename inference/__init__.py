"""What finds, cuts out and names objects in a focus stack."""
