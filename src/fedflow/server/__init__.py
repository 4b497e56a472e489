"""FedFlowServer: joins participants' machines, runs their rounds, loses nothing that it acknowledged."""
