package scheduler

import (
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"berth/platform"
	"berth/workload"
)

// platforms are those of the cluster.
var platforms = []platform.Platform{
	platform.MustParse("linux/amd64"), platform.MustParse("linux/arm64"), platform.MustParse("linux/s390x"),
	platform.MustParse("linux/arm/v7"), platform.MustParse("windows/amd64"),
}

// labels are what selectors ask for: those of platforms, and others, which each a node of
// any platform may have or not.
var labels = map[string][]string{
	"kubernetes.io/arch":      {"amd64", "arm64", "s390x", "arm", "mips64le"},
	"beta.kubernetes.io/arch": {"amd64", "arm64", "ppc64le"},
	"kubernetes.io/os":        {"linux", "windows"},
	"beta.kubernetes.io/os":   {"linux", "windows"},
	"disk":                    {"ssd", "7"},
	"zone":                    {"a", "9"},
}

// nodes are all that a cluster of those platforms may have, one for each value of the
// other labels.
func nodes() []*v1.Node {
	var all []*v1.Node
	for _, p := range platforms {
		for _, disk := range []string{"", "ssd", "7", "9"} {
			for _, zone := range []string{"", "a", "7", "9"} {
				n := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node", Labels: map[string]string{
					"kubernetes.io/arch": p.Architecture, "beta.kubernetes.io/arch": p.Architecture,
					"kubernetes.io/os": p.OS, "beta.kubernetes.io/os": p.OS,
				}}}
				for key, value := range map[string]string{"disk": disk, "zone": zone} {
					if value != "" {
						n.Labels[key] = value
					}
				}
				all = append(all, n)
			}
		}
	}
	return all
}

func requirement(t *rapid.T, keys []string) v1.NodeSelectorRequirement {
	key := rapid.SampledFrom(keys).Draw(t, "key")
	q := v1.NodeSelectorRequirement{Key: key}
	switch q.Operator = rapid.SampledFrom([]v1.NodeSelectorOperator{
		v1.NodeSelectorOpIn, v1.NodeSelectorOpIn, v1.NodeSelectorOpNotIn, v1.NodeSelectorOpExists, v1.NodeSelectorOpDoesNotExist, v1.NodeSelectorOpGt, v1.NodeSelectorOpLt,
	}).Draw(t, "operator"); q.Operator {
	case v1.NodeSelectorOpIn, v1.NodeSelectorOpNotIn:
		q.Values = rapid.SliceOfNDistinct(rapid.SampledFrom(labels[key]), 1, 2, rapid.ID[string]).Draw(t, "values")
	case v1.NodeSelectorOpGt, v1.NodeSelectorOpLt:
		q.Values = []string{"8"}
	}
	return q
}

func keys() []string {
	var all []string
	for key := range labels {
		all = append(all, key)
	}
	slices.Sort(all)
	return all
}

// spec draws a pod's specification.
func spec(t *rapid.T) v1.PodSpec {
	s := v1.PodSpec{Containers: []v1.Container{{Name: "x", Image: "example.com/x:1"}}}
	for _, key := range rapid.SliceOfNDistinct(rapid.SampledFrom(keys()), 0, 2, rapid.ID[string]).Draw(t, "selected") {
		if s.NodeSelector == nil {
			s.NodeSelector = map[string]string{}
		}
		s.NodeSelector[key] = rapid.SampledFrom(labels[key]).Draw(t, "value")
	}
	if !rapid.Bool().Draw(t, "affinity") {
		return s
	}
	required := &v1.NodeSelector{}
	for range rapid.IntRange(0, 3).Draw(t, "terms") {
		term := v1.NodeSelectorTerm{}
		for range rapid.IntRange(0, 3).Draw(t, "expressions") {
			term.MatchExpressions = append(term.MatchExpressions, requirement(t, keys()))
		}
		required.NodeSelectorTerms = append(required.NodeSelectorTerms, term)
	}
	s.Affinity = &v1.Affinity{NodeAffinity: &v1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: required}}
	return s
}

// read is what berth says of a pod on that cluster.
func read(t *rapid.T, s v1.PodSpec, cluster []platform.Platform) workload.Requirement {
	data, err := yaml.Marshal(v1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Name: "x"}, Spec: s})
	if err != nil {
		t.Fatal(err)
	}
	r := workload.Read(workload.NewFile("pod.yaml", data), workload.Options{ClusterPlatforms: cluster})
	if len(r.Workloads) != 1 || len(r.Problems) > 0 {
		t.Fatalf("%d workloads, %v of\n%s", len(r.Workloads), r.Problems, data)
	}
	return r.Workloads[0].Requirement
}

// lands are the platforms of nodes that the scheduler lets the pod run on.
func lands(t *rapid.T, s v1.PodSpec) []string {
	required := nodeaffinity.GetRequiredNodeAffinity(&v1.Pod{Spec: s})
	var on []string
	for _, n := range nodes() {
		ok, err := required.Match(n)
		if err != nil {
			t.Fatal(err)
		}
		name := platform.Format(platform.Normalize(platform.Platform{OS: n.Labels["kubernetes.io/os"], Architecture: n.Labels["kubernetes.io/arch"]}))
		if ok && !slices.Contains(on, name) {
			on = append(on, name)
		}
	}
	slices.Sort(on)
	return on
}

// disagree tells whether several requirements on one other label meet: these can rule each
// other out, which berth does not work out, since nodes may have any labels.
func disagree(s v1.PodSpec) bool {
	count := func(term []v1.NodeSelectorRequirement) bool {
		seen := map[string]int{}
		for key := range s.NodeSelector {
			seen[key]++
		}
		for _, q := range term {
			seen[q.Key]++
		}
		return seen["disk"] > 1 || seen["zone"] > 1
	}
	if s.Affinity == nil {
		return false
	}
	return slices.ContainsFunc(s.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms, func(term v1.NodeSelectorTerm) bool {
		return count(term.MatchExpressions)
	})
}

// TestCluster: where the platforms of the cluster are known, a pod lands where the
// scheduler says.
func TestCluster(t *testing.T) {
	landed := 0
	rapid.Check(t, func(t *rapid.T) {
		s := spec(t)
		want := lands(t, s)
		q := read(t, s, platforms)
		var got []string
		for _, p := range q.Platforms {
			if slices.ContainsFunc(platforms, func(has platform.Platform) bool { return platform.Equal(has, p) }) {
				got = append(got, platform.Format(p))
			}
		}
		slices.Sort(got)
		if len(want) > 0 {
			landed++
		}
		if disagree(s) {
			for _, p := range want {
				if !slices.Contains(got, p) {
					t.Fatalf("it lands on %v, and berth says %v: %s", want, got, q.Why)
				}
			}
			return
		}
		if !slices.Equal(got, want) {
			t.Fatalf("it lands on %v, and berth says %v: %s", want, got, q.Why)
		}
	})
	if landed == 0 {
		t.Error("no pod landed anywhere")
	}
}

// TestAlone: without knowing the cluster, what is said to be certain is where the
// scheduler puts it; nodes of Windows count only where something speaks of them.
func TestAlone(t *testing.T) {
	stated := 0
	rapid.Check(t, func(t *rapid.T) {
		s := spec(t)
		q := read(t, s, nil)
		if q.Certainty == workload.Undetermined {
			return
		}
		stated++
		var got []string
		for _, p := range q.Platforms {
			got = append(got, platform.Format(p))
		}
		for _, p := range lands(t, s) {
			if !slices.Contains(got, p) && !strings.HasPrefix(p, "windows/") {
				t.Fatalf("it may land on %s, and berth says %v: %s", p, got, q.Why)
			}
		}
	})
	if stated == 0 {
		t.Error("no pod said its platform")
	}
}

// TestSetPlatform: after the edits, the scheduler puts the pod on that platform only.
func TestSetPlatform(t *testing.T) {
	set := 0
	rapid.Check(t, func(t *rapid.T) {
		data, err := yaml.Marshal(v1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, Spec: spec(t)})
		if err != nil {
			t.Fatal(err)
		}
		p := rapid.SampledFrom(platforms[:4]).Draw(t, "platform")
		r := workload.Read(workload.NewFile("pod.yaml", data), workload.Options{ClusterPlatforms: platforms})
		edits, err := r.Workloads[0].SetPlatform(p)
		if err != nil {
			return // what else it asks of nodes rules the platform out
		}
		set++
		data, err = workload.Apply(data, edits)
		if err != nil {
			t.Fatal(err)
		}
		var pod v1.Pod
		if err := yaml.Unmarshal(data, &pod); err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
		if got := lands(t, pod.Spec); !slices.Equal(got, []string{platform.Format(p)}) && !disagree(pod.Spec) {
			t.Fatalf("it lands on %v, and not on %s\n%s", got, platform.Format(p), data)
		}
	})
	if set == 0 {
		t.Error("no platform was set")
	}
}
