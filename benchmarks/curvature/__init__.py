"""The largest Hessian eigenvalue over real training runs: ours beside PyHessian and curvlinops."""
