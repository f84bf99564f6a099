"""Generated wire messages; import them from `angzarr.wire`."""
