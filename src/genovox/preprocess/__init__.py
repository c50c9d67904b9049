"""From scans to network input: geometry, foreground, channels, intensity, crop."""
