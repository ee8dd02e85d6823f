"""The FGSN engine and localizer: season pairs in; labels, matches, poses and reasons out. Knows nothing of Qt."""
