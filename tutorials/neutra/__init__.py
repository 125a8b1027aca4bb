"""NeuTra: NUTS in the coordinates of a flow guide, on a posterior that plain NUTS cannot explore.

The centred eight schools are a funnel: where tau is small, all thetas are held close to mu, and
where tau is large they are free. No step size suits both ends. NUTS adapts its step to the wide
end, in the neck its leapfrog integrator diverges, and the chain stays away from small tau. Its mean
of log tau is then too high, and more draws do not mend that.

NeuTra (Hoffman et al., 2019) lets a flow straighten the posterior first. If ``theta = f(z)`` maps
a simple base to a guide that was fitted to the posterior, then the posterior *seen in z*,

    log p(z) = log p(data, f(z)) + log |det df/dz|,

is about as simple as the base: the flow has taken the funnel out of it. NUTS in z takes long steps,
and f carries its draws back. The guide need not be exact: the log-determinant makes up for the
warp, so the draws are of the posterior whatever f is; a poor f only costs steps.

What to look at in the table that ``python -m tutorials.neutra`` prints:

- *divergences*: leapfrog paths whose energy got lost. They tell of places not explored.
- *min ESS*: bulk effective sample size of the worst of mu, log tau and the eight thetas, all draws.
- *per 1000 leapfrog steps*: what does not depend on the machine. A step costs one gradient of
  the model, in z also one of the flow.
- *per second*: what does, and here the flow has to be paid for: for a model as small as this one it
  is most of the work. The fit of the guide, which is done once, has a column of its own.
- *means* beside a long run of the non-centred model, which needs the modeller to know the trick.

It is no magic. Where the guide had next to no draws, in the very tip of the neck, it is not fitted,
z is still narrow there and a handful of divergences remain; the mean of log tau stays a little
high. They say where to go on: a longer fit, a larger flow, a higher ``target_accept_prob``.

References:
    Hoffman et al., "NeuTra-lizing Bad Geometry in Hamiltonian Monte Carlo Using Neural Transport",
    2019; Betancourt, Girolami, "Hamiltonian Monte Carlo for Hierarchical Models", 2015 (funnels).
"""
