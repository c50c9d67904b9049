"""3D networks: tensors in, one logit out. They never see a patient."""
