"""Networks: layers, connections, potential and drive, readout, cost, activations, builders."""
