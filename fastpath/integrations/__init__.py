"""What runs inside other programs: attention of a running model, judged."""
