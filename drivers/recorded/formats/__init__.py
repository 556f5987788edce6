"""The formats of images: each is known by what a file or folder begins with or holds, and is opened as stacks.

Face: `micromanager_images`, `ndtiff`, `ome_tiff`, `ome_zarr`, `pictures`, `tiff`, `vendors`.
"""
