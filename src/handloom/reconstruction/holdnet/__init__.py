"""HOLD-Net: hand, object and background as signed distance fields, rendered and trained together."""
