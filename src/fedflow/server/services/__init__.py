"""What FedFlowServer does: services that own their transactions and know no Flask."""
