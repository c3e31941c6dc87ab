"""What steps made, kept as objects: :mod:`assets.objects.stages` sends and fetches it, and says what is promised."""
