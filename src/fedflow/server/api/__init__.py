"""FedFlowServer's API: routes that parse, call one service and return a message."""
