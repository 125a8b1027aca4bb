"""VAEs of digits whose prior is learnt, and their ELBO taken apart, in both libraries.

The ELBO of a VAE has a KL in it, which is two things (Hoffman, Johnson, 2016):

    (1/n) sum_i KL(q(z|x_i) || p(z)) = I(n; z) + KL(q(z) || p(z)),    q(z) = (1/n) sum_i q(z|x_i).

The *mutual information* is what z tells of its image: nobody wants that to be small. The *marginal
KL* is how far the mean of all posteriors, the aggregated posterior q(z), is from the prior. It is
pure loss, draws of the prior land where the decoder has never been, and only the prior can help.

``python -m tutorials.vae`` trains five VAEs that differ in one piece each:

- *standard Normal prior*, the usual one;
- *VampPrior*: the encoder's own posteriors of learnt pseudo-inputs, mixed;
- *MAF prior* and *RealNVP prior*: flows, trained with everything else;
- *IAF posterior*: the standard prior again, but an encoder whose Normal goes through a flow.

and prints, for each library, what they are worth on images that were not trained on, and what the
surgery finds. What to look at:

- *minus standard*: the gain in held-out log-likelihood, with the paired error. One image is much
  harder than the next, for every VAE alike; the error of a difference does not have that in it.
- *marginal KL*: it falls where the prior is learnt. Not to zero: the other terms move too, since
  an encoder whose prior follows it has no reason to stay near a Normal, and tells more (the
  *mutual information* rises).
- *a MAF fitted afterwards*: encoder and decoder stay as they are, and still half of the marginal KL
  goes. It costs seconds, and needs nothing but a trained encoder.
- the picture of the latents: each alone has next to no marginal KL. All of it is in how they hang
  together (the total correlation), which no choice of a Normal for each could mend.

The modules, in the order in which to read them: `data`, `model_pyro` or `model_numpyro`,
`training_...`, `measure_...`, `table`. With ``--mnist FOLDER`` the images are MNIST's.

References:
    Hoffman, Johnson, "ELBO surgery: yet another way to carve up the variational evidence lower
    bound", 2016; Tomczak, Welling, "VAE with a VampPrior", 2018; Chen et al., "Variational Lossy
    Autoencoder", 2017 (flow priors); Kingma et al., "Improving Variational Inference with Inverse
    Autoregressive Flow", 2016; Burda, Grosse, Salakhutdinov, "Importance Weighted Autoencoders",
    2016 (the held-out log-likelihood).
"""
