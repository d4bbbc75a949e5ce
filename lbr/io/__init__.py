"""Files in and out: images, h5, COLMAP models, text lists, hloc's formats. One format, one module."""
