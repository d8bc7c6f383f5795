"""Data: named sets of labelled images, the official file formats, where the files live, batches, augmentation."""
