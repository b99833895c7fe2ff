"""The spectrum of the Hessian at a checkpoint, measured, drawn and printed."""
