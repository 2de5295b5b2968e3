"""The live view: for whoever runs a sale, what happens in it at this moment."""
