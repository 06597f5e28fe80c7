"""Images: uploads, their variants, what is said of them (B38, H15)."""

from social.images.model import Image, ImageTools, NewImage
from social.images.service import ImageService

__all__ = ["Image", "ImageService", "ImageTools", "NewImage"]
