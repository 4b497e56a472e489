"""FedFlowServer's database: tables, migrations, the schema's version."""
