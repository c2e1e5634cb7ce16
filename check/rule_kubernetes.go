package check

// What manifests ask of nodes that no node has: package workload finds it.
var kubernetesArchitectureValue = mistakes("BER027", "kubernetes-architecture-value", Error,
	"A node selector or affinity asks for an architecture by a name that no node has, so that the pod is never scheduled.")
