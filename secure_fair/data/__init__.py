"""Data sets as files: pictures, labels, attributes, splits and the parties' stores."""
