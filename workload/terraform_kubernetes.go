package workload

import (
	"strings"

	"go.yaml.in/yaml/v4"
)

// kubernetesKinds are the resources of the Kubernetes provider that have pods, and where
// their pod specification is.
var kubernetesKinds = map[string][]string{
	"kubernetes_pod":                    {"spec"},
	"kubernetes_deployment":             {"spec", "template", "spec"},
	"kubernetes_stateful_set":           {"spec", "template", "spec"},
	"kubernetes_daemonset":              {"spec", "template", "spec"},
	"kubernetes_daemon_set":             {"spec", "template", "spec"},
	"kubernetes_replication_controller": {"spec", "template", "spec"},
	"kubernetes_job":                    {"spec", "template", "spec"},
	"kubernetes_cron_job":               {"spec", "jobTemplate", "spec", "template", "spec"},
}

// kubernetesNames are those that the provider writes otherwise than in snake case.
var kubernetesNames = map[string]string{
	"container": "containers", "init_container": "initContainers", "volume": "volumes", "toleration": "tolerations",
	"node_selector_term": "nodeSelectorTerms", "match_expressions": "matchExpressions", "match_fields": "matchFields",
}

// kubernetesLists are what stays a list in a plan, whose blocks all are lists.
var kubernetesLists = map[string]bool{
	"containers": true, "initContainers": true, "volumes": true, "tolerations": true, "nodeSelectorTerms": true, "matchExpressions": true,
	"matchFields": true, "env": true, "envFrom": true, "command": true, "args": true, "values": true, "volumeMount": true,
}

// kubernetesMaps are what users choose the keys of.
var kubernetesMaps = map[string]bool{"nodeSelector": true, "labels": true, "annotations": true, "matchLabels": true, "limits": true, "requests": true}

// afterApply stands for a value that is known after apply.
const afterApply = "${known after apply}"

// kubernetes reads a resource of the Kubernetes provider as the object that it makes.
func (p *plan) kubernetes(res *planned, keys []string) {
	shaped := Node{p.shape(res.node.node, p.unknown[res.address], 0), res.node.file}
	spec := shaped.Get(keys...)
	if !spec.IsMap() {
		p.broken(res.pos, "%s has no %s", res.address, strings.Join(keys, "."))
		return
	}
	template := shaped
	if len(keys) > 1 {
		template = shaped.Get(keys[:len(keys)-1]...)
	}
	before := len(p.out.Workloads)
	p.pod(shaped, podSpec{Node: spec, path: keys, template: template}, false)
	p.planned(res, before)
}

// kubernetesObject reads a kubernetes_manifest, which has an object as it is.
func (p *plan) kubernetesObject(res *planned, manifest Node) {
	before := len(p.out.Workloads)
	p.object(Node{p.manifest(manifest.node, p.unknown[res.address].Get("manifest"), 0), manifest.file})
	p.planned(res, before)
}

// planned names the workloads that were added after before by their resource.
func (p *plan) planned(res *planned, before int) {
	for _, w := range p.out.Workloads[before:] {
		w.Kind, w.Name, w.Pos = res.kind, strings.Replace(res.address, res.kind+".", "", 1), res.pos
		w.SetPlatform = nil
		if res.block != nil {
			w.Requirement.Pos = res.pos
		}
		for i := range w.Containers {
			c := &w.Containers[i]
			if res.block != nil {
				c.Image.Pos = res.pos
			}
			if strings.Contains(c.Image.Text, afterApply) {
				c.Image.Unknown = "it is known after apply"
			}
		}
	}
}

// shape is a value of the provider in the shape of Kubernetes: names in camel case, and
// blocks of which there is one as mappings. Places stay.
func (p *plan) shape(y *yaml.Node, unknowns Node, depth int) *yaml.Node {
	if unknowns.Bool() && (y == nil || y.Tag == "!!null" || y.Kind == yaml.ScalarNode) {
		return afterApplyNode(y)
	}
	if y == nil || depth > maxDepth {
		return y
	}
	out := *y
	out.Content = nil
	switch y.Kind {
	case yaml.SequenceNode:
		items := unknowns.Items()
		for i, item := range y.Content {
			var u Node
			if i < len(items) {
				u = items[i]
			}
			out.Content = append(out.Content, p.shape(item, u, depth+1))
		}
	case yaml.MappingNode:
		seen := map[string]bool{}
		for i := 0; i+1 < len(y.Content); i += 2 {
			key := *y.Content[i]
			seen[key.Value] = true
			unknown := unknowns.Get(key.Value)
			if name := kubernetesNames[key.Value]; name != "" {
				key.Value = name
			} else {
				key.Value = camelCase(key.Value)
			}
			value := y.Content[i+1]
			if kubernetesMaps[key.Value] {
				out.Content = append(out.Content, &key, value)
				continue
			}
			shaped := p.shape(value, unknown, depth+1)
			if shaped.Kind == yaml.SequenceNode && !kubernetesLists[key.Value] {
				switch len(shaped.Content) {
				case 0:
					continue
				case 1:
					shaped = shaped.Content[0]
				}
			}
			out.Content = append(out.Content, &key, shaped)
		}
		for _, e := range unknowns.Entries() { // a plan leaves out what it does not know
			if !seen[e.Key.Text()] && e.Value.Bool() && e.Key.Text() == "image" {
				out.Content = append(out.Content, e.Key.node, afterApplyNode(y))
			}
		}
	}
	return &out
}

// manifest is an object, with what is known after apply.
func (p *plan) manifest(y *yaml.Node, unknowns Node, depth int) *yaml.Node {
	if unknowns.Bool() {
		return afterApplyNode(y)
	}
	if depth > maxDepth || len(y.Content) == 0 {
		return y
	}
	out := *y
	out.Content = nil
	items := unknowns.Items()
	for i, child := range y.Content {
		switch {
		case y.Kind == yaml.MappingNode && i%2 == 1:
			child = p.manifest(child, unknowns.Get(y.Content[i-1].Value), depth+1)
		case y.Kind == yaml.SequenceNode && i < len(items):
			child = p.manifest(child, items[i], depth+1)
		}
		out.Content = append(out.Content, child)
	}
	return &out
}

func afterApplyNode(y *yaml.Node) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: afterApply, Line: 1, Column: 1}
	if y != nil {
		n.Line, n.Column = y.Line, y.Column
	}
	return n
}

// camelCase is a name as Kubernetes writes it.
func camelCase(name string) string {
	parts := strings.Split(name, "_")
	for i, part := range parts {
		if i > 0 && part != "" {
			parts[i] = strings.ToUpper(part[:1]) + part[1:]
		}
	}
	return strings.Join(parts, "")
}
