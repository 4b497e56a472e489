"""Makes the starter model, the 'icons-v1' extractor and the demo pictures from open icon art."""
