"""Chapter 7: does reuse pay, and does counting foretell it?"""
