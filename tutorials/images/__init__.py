"""Flows of images beside a flow of vectors and a Gaussian, on scikit-learn's digits.

``python -m tutorials.images`` fits, in both libraries, densities of 8x8 images of 17 grey levels:

- a Gaussian with a full covariance;
- *RealNVP of vectors*, which sees 64 numbers and no image;
- *RealNVP of images* and *Glow*, whose networks are convolutions and which work on several scales,
  with as many weights as the flow of vectors has;
- *Glow given the class*, ten densities in one, for pictures of chosen digits.

All of them see the same numbers: uniform noise is added to the grey levels, drawn anew in each
epoch, then come a logit and a scale for each pixel, both of them layers of the flow. So the
likelihoods are those of the grey levels, in bits per dimension: the bits that a pixel costs whoever
codes images with the model. Uniform grey levels would cost log2(17) = 4.09.

The modules, in the order in which to read them: `data`, `models`, `training_pyro` or
`training_numpyro`, `outcome`, `table`, `pictures`.

References:
    Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2017; Kingma, Dhariwal,
    "Glow: Generative Flow with Invertible 1x1 Convolutions", 2018; Theis, van den Oord, Bethge, "A
    note on the evaluation of generative models", 2016 (noise and bits per dimension).
"""
