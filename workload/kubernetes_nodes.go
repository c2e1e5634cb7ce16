package workload

import (
	"regexp"
	"slices"
	"strings"

	"berth/platform"
	"berth/target"
)

// Labels of nodes that say a platform; the kubelet sets them, from GOARCH and GOOS of
// its own (kubernetes.io/docs/reference/labels-annotations-taints/).
var (
	archLabels = []string{"kubernetes.io/arch", "beta.kubernetes.io/arch"}
	osLabels   = []string{"kubernetes.io/os", "beta.kubernetes.io/os"}
)

// nodeArchitectures are values of those labels that a node can have: Go's names of what
// the kubelet is or was built for.
var nodeArchitectures = []string{"386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x"}

// labelRequirement is what is asked of one label of a node.
type labelRequirement struct {
	key, operator string
	values        []string
	node, list    Node   // where it stands: the value of nodeSelector, or the list of values
	says          string // in words
}

// nodeSelection is what decides which nodes a pod may land on. Tolerations allow nodes
// and never restrict.
type nodeSelection struct {
	pod      Node
	selector []labelRequirement   // all must hold
	terms    [][]labelRequirement // one must, with all its requirements; nil for no affinity
	affinity bool
	os       Node // spec.os.name
	nodeName Node
	has      []platform.Platform // what the cluster has, where that is known
	armTaint bool                // the taint kubernetes.io/arch=arm64:NoSchedule is tolerated
}

// nodeSelection reads a pod's specification.
func (r *reader) nodeSelection(pod Node) *nodeSelection {
	s := &nodeSelection{pod: pod, os: pod.Get("os", "name"), nodeName: pod.Get("nodeName"), has: r.ClusterPlatforms}
	for _, e := range pod.Get("nodeSelector").Entries() {
		q := labelRequirement{key: e.Key.Text(), operator: "In", values: []string{e.Value.Text()}, node: e.Value}
		q.says = "nodeSelector " + q.key + " is " + q.values[0]
		r.architectureValue(q, e.Value)
		s.selector = append(s.selector, q)
	}
	required := pod.Get("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
	s.affinity = !required.IsNull()
	for _, term := range required.Get("nodeSelectorTerms").Items() {
		expressions := term.Get("matchExpressions").Items()
		if len(expressions)+len(term.Get("matchFields").Items()) == 0 {
			continue // "A null or empty node selector term matches no objects" (core/v1 NodeSelectorTerm)
		}
		requirements := []labelRequirement{}
		for _, expression := range expressions {
			requirements = append(requirements, r.matchExpression(expression))
		}
		s.terms = append(s.terms, requirements)
	}
	for _, t := range pod.Get("tolerations").Items() {
		key, operator, effect := t.Get("key").Text(), t.Get("operator").Text(), t.Get("effect").Text()
		if (key == "kubernetes.io/arch" || key == "" && operator == "Exists") && (effect == "" || effect == "NoSchedule") &&
			(operator == "Exists" || t.Get("value").Text() == "arm64") {
			s.armTaint = true
		}
	}
	return s
}

func (r *reader) matchExpression(n Node) labelRequirement {
	values := n.Get("values")
	q := labelRequirement{key: n.Get("key").Text(), operator: n.Get("operator").Text(), values: values.Texts(), node: n, list: values}
	q.says = strings.TrimSpace("required nodeAffinity " + q.key + " " + q.operator + " " + strings.Join(q.values, ", "))
	// What the API refuses: ValidateNodeSelectorRequirement of kubernetes/kubernetes.
	switch q.operator {
	case "In", "NotIn":
		if len(q.values) == 0 {
			r.broken(n.Pos(), "the operator %s of a node affinity needs values", q.operator)
		}
	case "Exists", "DoesNotExist":
		if len(q.values) > 0 {
			r.broken(n.Pos(), "the operator %s of a node affinity takes no values", q.operator)
		}
	case "Gt", "Lt":
		if len(q.values) != 1 {
			r.broken(n.Pos(), "the operator %s of a node affinity takes one value", q.operator)
		}
	default:
		r.broken(n.Pos(), "%q is no operator of a node affinity: In, NotIn, Exists, DoesNotExist, Gt and Lt are", q.operator)
	}
	for _, item := range values.Items() {
		r.architectureValue(q, item)
	}
	return q
}

// architectureValue looks at a value of a label of architectures that no node has.
func (r *reader) architectureValue(q labelRequirement, n Node) {
	value := n.Text()
	if !slices.Contains(archLabels, q.key) || slices.Contains(nodeArchitectures, value) || strings.Contains(value, "{{") || strings.Contains(value, "$") {
		return
	}
	m := Mistake{
		Rule: "kubernetes-architecture-value", Pos: n.Pos(),
		Message: "no node has " + q.key + " " + quoteOrNothing(value) + ": the label has Go's names of architectures",
		Fix:     "write one of " + strings.Join(nodeArchitectures, ", "),
	}
	if arch := intended(value); slices.Contains(nodeArchitectures, arch) {
		m.Fix = "write " + arch
		if edits, err := n.replace(arch); err == nil { // else by hand
			m.Edits = edits
		}
	}
	r.out.Mistakes = append(r.out.Mistakes, m)
}

func quoteOrNothing(s string) string {
	if s == "" {
		return "of nothing"
	}
	return `"` + s + `"`
}

// intended is the architecture that a value of the label means.
func intended(value string) string {
	return platform.Normalize(platform.Platform{OS: "linux", Architecture: value}).Architecture
}

// may tells whether a node of that platform can fulfil it, whatever its other labels are.
func (q labelRequirement) may(os, arch string) bool {
	var label string
	switch {
	case slices.Contains(archLabels, q.key):
		label = arch
	case slices.Contains(osLabels, q.key):
		label = os
	default:
		return q.operator != "In" || slices.ContainsFunc(q.values, func(value string) bool {
			saysOS, saysArch := implied(q.key, value)
			return (saysOS == "" || saysOS == os) && (saysArch == "" || saysArch == arch)
		})
	}
	switch q.operator {
	case "In":
		return slices.ContainsFunc(q.values, func(value string) bool { return value == label || intended(value) == label })
	case "NotIn":
		return !slices.Contains(q.values, label)
	case "DoesNotExist", "Gt", "Lt":
		return false // every node has the label, and Gt and Lt compare integers
	}
	return true
}

// mayLand tells whether a node of that platform can fulfil it all.
func (s *nodeSelection) mayLand(os, arch string) bool {
	all := func(requirements []labelRequirement) bool {
		for _, q := range requirements {
			if !q.may(os, arch) {
				return false
			}
		}
		return true
	}
	if name := s.os.Text(); name != "" && name != os {
		return false // the kubelet refuses the pod (kubernetes.io/docs/concepts/workloads/pods/#pod-os)
	}
	return all(s.selector) && (!s.affinity || slices.ContainsFunc(s.terms, all))
}

// requirements are all of them.
func (s *nodeSelection) requirements() []labelRequirement {
	return append(slices.Clone(s.selector), slices.Concat(s.terms...)...)
}

// unnamed stands for an architecture that no requirement names.
const unnamed = "unnamed"

// platforms are those that it may land on, where the pod alone says them all. open says
// that it does not.
func (s *nodeSelection) platforms() (platforms []platform.Platform, open bool) {
	architectures := []string{unnamed}
	windows := s.os.Text() == "windows"
	for _, q := range s.requirements() {
		for _, value := range q.values {
			switch os, arch := implied(q.key, value); {
			case q.operator != "In":
			case slices.Contains(archLabels, q.key):
				if arch := intended(value); slices.Contains(nodeArchitectures, arch) {
					architectures = append(architectures, arch)
				}
			case slices.Contains(osLabels, q.key):
				windows = windows || value == "windows"
			default:
				windows = windows || os == "windows"
				if arch != "" {
					architectures = append(architectures, arch)
				}
			}
		}
	}
	slices.Sort(architectures)
	architectures = slices.Compact(architectures)
	linux := slices.ContainsFunc(architectures, func(arch string) bool { return s.mayLand("linux", arch) })
	for _, os := range []string{"linux", "windows"} {
		if os == "windows" && linux && !windows {
			continue // nothing speaks of it: clusters have Linux unless something does
		}
		for _, arch := range architectures {
			switch {
			case !s.mayLand(os, arch):
			case arch != unnamed:
				platforms = append(platforms, platform.Normalize(platform.Platform{OS: os, Architecture: arch}))
			case os == "windows": // nodes of Windows are amd64 (kubernetes.io/releases/download/: node binaries)
				if s.mayLand(os, "amd64") {
					platforms = append(platforms, platform.Platform{OS: os, Architecture: "amd64"})
				}
			default:
				open = true
			}
		}
	}
	platform.Sort(platforms)
	return slices.CompactFunc(platforms, platform.Equal), open
}

// nodeRequirement says where a pod will run.
func (r *reader) nodeRequirement(s *nodeSelection) Requirement {
	cluster := r.Cluster
	if cluster == nil {
		cluster = r.target("kubernetes")
	}
	why, pos := s.said()
	if pos == (Pos{}) {
		pos = s.pod.Pos()
	}
	if s.onFargate() {
		fargate := r.target("eks-fargate")
		return Requirement{Target: fargate, Platforms: []platform.Platform{*fargate.Default}, Certainty: Stated, Why: why, Pos: pos}
	}
	q := Requirement{Target: cluster, Pos: pos, Certainty: Undetermined}
	has := s.has
	stated, open := s.platforms()
	if len(has) > 0 {
		var lands []platform.Platform
		for _, p := range has {
			if s.mayLand(p.OS, p.Architecture) {
				lands = append(lands, p)
			}
		}
		platform.Sort(lands)
		nodes := "the cluster has nodes of " + platformNames(has)
		switch {
		case len(lands) > 1 && s.nodeName.Text() != "":
			q.Why = "nodeName is " + s.nodeName.Text() + ", and nothing says which platform that node has"
			q.Pos = s.nodeName.Pos()
			return q
		case len(lands) > 0:
			q.Platforms, q.Certainty, q.Why = lands, Assumed, nodes
			if why != "" {
				q.Why = why + ", and " + nodes
			}
			if !open && len(stated) == len(lands) {
				q.Certainty = Stated
			}
			return q
		case len(stated) > 0:
			q.Platforms, q.Certainty, q.Why = stated, Stated, why+", though "+nodes+" only"
			return q
		}
		q.Why = why + ", and " + nodes + ": no node fits"
		return q
	}
	switch {
	case !open && len(stated) > 0:
		q.Platforms, q.Certainty, q.Why = stated, Stated, why
		if len(cluster.Runs) > 0 && !slices.ContainsFunc(cluster.Runs, func(p platform.Platform) bool {
			return slices.ContainsFunc(stated, func(s platform.Platform) bool { return platform.Equal(p, s) })
		}) {
			q.Why += ", though " + cluster.Title + " runs " + platformNames(cluster.Runs) + " only"
		}
	case !open:
		q.Why = why + ", which no node fulfils"
	case s.nodeName.Text() != "":
		q.Why = "nodeName is " + s.nodeName.Text() + ", and nothing says which platform that node has"
		q.Pos = s.nodeName.Pos()
	case cluster.Default != nil:
		q = s.clusterDefault(cluster, q, why)
	case why != "":
		q.Why = why + ", which leaves the architecture open: add nodeSelector kubernetes.io/arch, or say the nodes with --cluster-platforms"
	default:
		q.Why = "nothing says the architecture of its nodes: add nodeSelector kubernetes.io/arch, or say the nodes with --cluster-platforms"
	}
	return q
}

// clusterDefault is where a pod lands that leaves it open, on a cluster that has a default.
func (s *nodeSelection) clusterDefault(cluster *target.Target, q Requirement, why string) Requirement {
	q.Platforms, q.Certainty, q.Why = []platform.Platform{*cluster.Default}, Default, cluster.Title+" default: no node selector for kubernetes.io/arch"
	if len(cluster.Runs) == 1 {
		q.Certainty, q.Why = Stated, cluster.Title+" runs "+platform.Format(*cluster.Default)+" only"
		return q
	}
	// What keeps a pod from nodes of arm64 of GKE is their taint; elsewhere the toleration of
	// one that is not there changes nothing.
	if s.armTaint && cluster.Name == "gke" {
		q.Platforms = nil
		for _, p := range cluster.Runs {
			if s.mayLand(p.OS, p.Architecture) && p.OS == cluster.Default.OS {
				q.Platforms = append(q.Platforms, p)
			}
		}
		q.Why = "it tolerates the taint of arm64 nodes, and has no node selector for kubernetes.io/arch"
	} else if !s.mayLand(cluster.Default.OS, cluster.Default.Architecture) {
		q.Platforms, q.Certainty = nil, Undetermined
		q.Why = why + ", which the default of " + cluster.Title + ", " + platform.Format(*cluster.Default) + ", does not fulfil"
	}
	return q
}

// said are the words of what speaks of platforms, and where the first of them stands.
func (s *nodeSelection) said() (string, Pos) {
	var words []string
	var pos Pos
	note := func(says string, at Node) {
		if len(words) == 0 {
			pos = at.Pos()
		}
		if !slices.Contains(words, says) {
			words = append(words, says)
		}
	}
	// The architecture is what people look for, so it comes first.
	for _, keys := range [][]string{archLabels, osLabels, nil} {
		for _, q := range s.requirements() {
			speaks := slices.Contains(keys, q.key)
			if keys == nil && q.operator == "In" {
				for _, value := range q.values {
					os, arch := implied(q.key, value)
					speaks = speaks || os != "" || arch != ""
				}
			}
			if speaks {
				note(q.says, q.node)
			}
		}
	}
	if s.affinity && len(s.terms) == 0 {
		note("the required nodeAffinity has no term that matches a node", s.pod.Get("affinity", "nodeAffinity"))
	}
	if name := s.os.Text(); name != "" {
		note("os.name is "+name, s.os)
	}
	return strings.Join(words, "; "), pos
}

// onFargate tells whether it asks for a node of EKS that is on Fargate.
func (s *nodeSelection) onFargate() bool {
	return slices.ContainsFunc(s.selector, func(q labelRequirement) bool {
		return q.key == "eks.amazonaws.com/compute-type" && q.values[0] == "fargate"
	})
}

func platformNames(platforms []platform.Platform) string {
	names := make([]string, len(platforms))
	for i, p := range platforms {
		names[i] = platform.Format(p)
	}
	return strings.Join(names, ", ")
}

// implied is the platform that a label of a cloud says of its nodes; empty for what it
// does not say.
func implied(key, value string) (os, arch string) {
	switch key {
	case "eks.amazonaws.com/compute-type":
		if value == "fargate" { // github.com/aws/containers-roadmap/issues/1629
			return "linux", "amd64"
		}
	case "node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type":
		return "", machineArchitecture(value)
	case "karpenter.k8s.aws/instance-family", "eks.amazonaws.com/instance-family":
		return "", machineArchitecture(value + ".")
	case "karpenter.k8s.aws/instance-cpu-manufacturer", "eks.amazonaws.com/instance-cpu-manufacturer":
		// karpenter.sh/docs/reference/instance-types/: aws, intel, amd
		return "", map[string]string{"aws": "arm64", "intel": "amd64", "amd": "amd64"}[value]
	case "cloud.google.com/machine-family":
		return "", machineArchitecture(value + "-")
	case "cloud.google.com/compute-class":
		if value == "autopilot-arm" { // docs.cloud.google.com/kubernetes-engine/docs/how-to/autopilot-arm-workloads
			return "", "arm64"
		}
	case "kubernetes.azure.com/os-sku":
		switch {
		case strings.HasPrefix(value, "Windows"):
			return "windows", ""
		case value == "Ubuntu" || value == "AzureLinux" || value == "CBLMariner":
			return "linux", ""
		}
	case "node.kubernetes.io/windows-build": // kubernetes.io/docs/reference/labels-annotations-taints/
		return "windows", ""
	}
	return "", ""
}

// Names of machines.
var (
	// A family of EC2 is a letter or several, the generation, and what it has: "g" stands
	// for AWS Graviton (docs.aws.amazon.com/ec2/latest/instancetypes/instance-type-names.html).
	// Macs of Apple are arm64 or not, and run no nodes.
	// So does "-gb", NVIDIA's Grace Blackwell.
	machineEC2 = regexp.MustCompile(`^([a-z]+)([0-9]+)([a-z]*)(-[a-z0-9]+)?\.`)
	// Arm machines of Google (docs.cloud.google.com/compute/docs/instances/arm-on-compute).
	machineGCE = regexp.MustCompile(`^([acemnt][0-9]+[a-z]*)-`)
	// "p" stands for an Arm CPU (learn.microsoft.com/azure/virtual-machines/vm-naming-conventions).
	machineAzure = regexp.MustCompile(`^Standard_[A-Z]+[0-9]+(-[0-9]+)?([a-z]*)(_|$)`)
)

// machineArchitecture is the architecture of a type of machine; empty where its name
// does not say one.
func machineArchitecture(name string) string {
	if m := machineEC2.FindStringSubmatch(name); m != nil {
		switch {
		case m[1] == "mac":
			return ""
		case strings.Contains(m[3], "g"), m[1]+m[2] == "a1", strings.HasPrefix(m[4], "-gb"):
			return "arm64"
		}
		return "amd64"
	}
	if m := machineGCE.FindStringSubmatch(name); m != nil {
		switch m[1] {
		case "t2a", "c4a", "n4a", "a4x":
			return "arm64"
		case "e2", "n1", "n2", "n2d", "n4", "n4d", "t2d", "c2", "c2d", "c3", "c3d", "c4", "c4d", "m1", "m2", "m3", "m4", "a2", "a3":
			return "amd64"
		}
		return ""
	}
	if m := machineAzure.FindStringSubmatch(name); m != nil {
		if strings.Contains(m[2], "p") {
			return "arm64"
		}
		return "amd64"
	}
	return ""
}
