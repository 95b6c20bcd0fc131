"""HOLD-Net: hand, object and background as signed distance fields, rendered together (facts 2.1 to 2.4)."""
