"""Chapter 6: does counting predict accuracy, and how far apart must two networks be?"""
