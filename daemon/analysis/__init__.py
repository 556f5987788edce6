"""From a stack to rows and files: what is measured and said of each object, and what is kept of each field.

Face: `field_output`, `flags`, `kept_picture`, `measure`, `naming`, `previews`.
"""
