package workload

import (
	"fmt"
	"slices"

	"berth/platform"
)

// set returns the edits that make a pod land on p only: it changes what the pod says of
// platforms, and adds a node selector where that is not enough.
func (s *nodeSelection) set(p platform.Platform) ([]Edit, error) {
	p = platform.Normalize(p)
	arch := p.Architecture
	after := *s
	var edits []Edit
	// A list of values that p is among stays: the node selector then narrows it. What is
	// ruled out by NotIn stays with who wrote it.
	after.terms = nil
	for _, term := range s.terms {
		term = slices.Clone(term)
		for i, q := range term {
			value, says := labelOf(q.key, p)
			if !says || q.operator != "In" || len(q.values) == 0 || slices.Contains(q.values, value) {
				continue
			}
			more, err := q.list.Items()[0].replace(value)
			if err != nil {
				return nil, err
			}
			edits = append(edits, more...)
			term[i].values = append([]string{value}, q.values[1:]...)
		}
		after.terms = append(after.terms, term)
	}

	after.selector = slices.Clone(s.selector)
	var pairs []pair
	for i, q := range s.selector {
		if value, says := labelOf(q.key, p); says && q.values[0] != value {
			pairs = append(pairs, pair{q.key, value})
			after.selector[i].values = []string{value}
		}
	}
	if name := s.os.Text(); name != "" && name != p.OS {
		more, err := s.os.replace(p.OS)
		if err != nil {
			return nil, err
		}
		edits = append(edits, more...)
		after.os = Node{}
		after.selector = append(after.selector, labelRequirement{key: osLabels[0], operator: "In", values: []string{p.OS}})
	}
	for _, add := range []pair{{archLabels[0], arch}, {osLabels[0], p.OS}} {
		if after.only(p) {
			break
		}
		if slices.ContainsFunc(after.selector, func(q labelRequirement) bool { return q.key == add.key }) {
			continue
		}
		pairs = append(pairs, add)
		after.selector = append(after.selector, labelRequirement{key: add.key, operator: "In", values: []string{add.value.(string)}})
	}
	if !after.only(p) {
		why, pos := s.said()
		return nil, fmt.Errorf("%s: what else is asked of its nodes does not let it land on %s: %s", pos, platform.Format(p), why)
	}
	if len(pairs) > 0 {
		more, err := s.pod.set("nodeSelector", pairs)
		if err != nil {
			return nil, err
		}
		edits = append(edits, more...)
	}
	return edits, nil
}

// labelOf is the value that a label has on nodes of p; says is false for labels that do
// not speak of platforms.
func labelOf(key string, p platform.Platform) (value string, says bool) {
	switch {
	case slices.Contains(archLabels, key):
		return p.Architecture, true
	case slices.Contains(osLabels, key):
		return p.OS, true
	}
	return "", false
}

// only tells whether it says itself that it lands on p, and on nothing else that the
// cluster has.
func (s *nodeSelection) only(p platform.Platform) bool {
	platforms, open := s.platforms()
	for _, other := range s.has {
		open = open || !platform.Equal(other, p) && s.mayLand(other.OS, other.Architecture)
	}
	return !open && len(platforms) == 1 && platform.Equal(platforms[0], p)
}
