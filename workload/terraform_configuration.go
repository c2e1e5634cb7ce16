package workload

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"berth/platform"
)

// maxConfigurationFiles bounds how many files of one module are read; large modules have
// some dozens. maxConfigurationSize bounds each.
const (
	maxConfigurationFiles = 500
	maxConfigurationSize  = 4 << 20
)

// hclFolder is a module: the resources that its files have.
type hclFolder struct {
	blocks map[string]*hclBlock // by type and name
}

// hclBlock is a resource of Terraform configuration.
type hclBlock struct {
	file  *File
	block *hclsyntax.Block
}

// block is a resource in a folder, or nil where it is not there. What cannot be parsed is
// left out: terraform plan has parsed it, so it is of another time than the plan.
func (p *plan) block(folder, kind, name string) *hclBlock {
	if folder == "" || p.ReadDir == nil || p.ReadFile == nil || p.Name == Stdin {
		return nil
	}
	f := p.folders[folder]
	if f == nil {
		f = p.readFolder(folder)
		p.folders[folder] = f
	}
	return f.blocks[kind+"."+name]
}

func (p *plan) readFolder(folder string) *hclFolder {
	f := &hclFolder{blocks: map[string]*hclBlock{}}
	names, err := p.ReadDir(folder)
	if err != nil {
		return f // places are then those of the plan
	}
	read := 0
	for _, name := range names {
		if path.Ext(name) != ".tf" || read == maxConfigurationFiles {
			continue
		}
		read++
		data, err := p.ReadFile(path.Join(folder, name))
		if err != nil || len(data) > maxConfigurationSize {
			continue
		}
		file := NewFile(path.Join(folder, name), data)
		parsed, diagnostics := hclsyntax.ParseConfig(data, file.Name, hcl.InitialPos)
		body, ok := parsed.Body.(*hclsyntax.Body)
		if diagnostics.HasErrors() || !ok {
			continue
		}
		p.File.Beside = append(p.File.Beside, file)
		for _, b := range body.Blocks {
			if b.Type == "resource" && len(b.Labels) == 2 {
				f.blocks[b.Labels[0]+"."+b.Labels[1]] = &hclBlock{file, b}
			}
		}
	}
	return f
}

// pos is where the resource begins.
func (b *hclBlock) pos() Pos { return b.file.PosAt(b.block.TypeRange.Start.Byte) }

// at is where the value of an attribute is, or a block begins.
func (b *hclBlock) at(key string) (Pos, bool) {
	if a := b.block.Body.Attributes[key]; a != nil {
		return b.file.PosAt(a.Expr.Range().Start.Byte), true
	}
	for _, inner := range b.block.Body.Blocks {
		if inner.Type == key || inner.Type == "dynamic" && len(inner.Labels) == 1 && inner.Labels[0] == key {
			return b.file.PosAt(inner.TypeRange.Start.Byte), true
		}
	}
	return Pos{}, false
}

// replan says what to write into the configuration: a plan is made of it, and stays as it
// is when it changes.
func (p *plan) replan(res *planned, text func(p platform.Platform) string) func(platform.Platform) ([]Edit, error) {
	return func(to platform.Platform) ([]Edit, error) {
		says := text(to)
		if says == "" {
			return nil, fmt.Errorf("%s: %s has no name for %s", res.pos, res.kind, platform.Format(to))
		}
		return nil, fmt.Errorf("%s: say it in the configuration of %s, and plan again: %s", res.pos, res.address, says)
	}
}

// hclRuntimePlatform and hclArchitectures are what says a platform.
func hclRuntimePlatform(p platform.Platform) string {
	for name, arch := range ecsArchitectures {
		if platform.Equal(p, platform.Platform{OS: "linux", Architecture: arch}) {
			return fmt.Sprintf(`runtime_platform { cpu_architecture = %q, operating_system_family = "LINUX" }`, name)
		}
	}
	return ""
}

func hclArchitectures(p platform.Platform) string {
	for name, arch := range lambdaArchitectures {
		if platform.Equal(p, platform.Platform{OS: "linux", Architecture: arch}) {
			return fmt.Sprintf("architectures = [%q]", name)
		}
	}
	return ""
}

// terraformConfiguration is what a plan is made of. It is not evaluated here.
var terraformConfiguration = &Format{
	Name:  "terraform-configuration",
	Title: "Terraform configuration",
	Files: []string{"*.tf"},
	Mark:  regexp.MustCompile(`resource\s+"(` + strings.Join(planKinds(), "|") + `)"`),
	is: func(f *File) bool {
		return strings.HasSuffix(f.Name, ".tf")
	},
	read: func(r *reader) {
		if r.configurationBefore() || r.plannedAbove() {
			return
		}
		at := r.out.Format.Mark.FindIndex(r.Data)
		r.open(r.PosAt(at[0]), "images of Terraform configuration are read from its plan: terraform plan -out plan.out && terraform show -json plan.out > plan.json")
	},
}

// planKinds are the types of resources that are read, as regular expressions.
func planKinds() []string {
	return []string{
		"aws_ecs_task_definition", "aws_ecs_daemon_task_definition", "aws_ecs_express_gateway_service", "aws_lambda_function",
		"aws_apprunner_service", "aws_batch_job_definition", "aws_bedrockagentcore_agent_runtime", "aws_lightsail_container_service_deployment_version",
		"google_cloud_run_\\w+", "azurerm_container_app\\w*", "azurerm_container_group",
		"kubernetes_(pod|deployment|stateful_set|daemonset|daemon_set|replication_controller|job|cron_job)(_v1)?", "kubernetes_manifest",
	}
}

// configurationBefore tells whether an earlier file of the folder says it already.
func (r *reader) configurationBefore() bool {
	if r.ReadDir == nil || r.ReadFile == nil {
		return false
	}
	folder := path.Dir(strings.ReplaceAll(r.Name, `\`, "/"))
	names, err := r.ReadDir(folder)
	if err != nil {
		return false
	}
	for _, name := range names {
		if path.Ext(name) != ".tf" {
			continue
		}
		if name == path.Base(strings.ReplaceAll(r.Name, `\`, "/")) {
			return false
		}
		if data, err := r.ReadFile(path.Join(folder, name)); err == nil && r.out.Format.Mark.Match(data) {
			return true
		}
	}
	return false
}

// maxPlans bounds how many files are looked at for a plan, and maxAbove how many folders
// up: modules lie below the folder that is planned.
const (
	maxPlans = 20
	maxAbove = 4
)

// plannedAbove tells whether a plan lies in the folder or above it.
func (r *reader) plannedAbove() bool {
	if r.ReadDir == nil || r.ReadFile == nil {
		return false
	}
	folder := path.Dir(strings.ReplaceAll(r.Name, `\`, "/"))
	for range maxAbove {
		names, err := r.ReadDir(folder)
		if err != nil {
			return false
		}
		looked := 0
		for _, name := range names {
			if !strings.HasSuffix(name, ".json") || !strings.Contains(name, "plan") || looked == maxPlans {
				continue
			}
			looked++
			if data, err := r.ReadFile(path.Join(folder, name)); err == nil && terraformPlan.Mark.Match(data) {
				return true
			}
		}
		if folder == "." || folder == "/" || strings.HasSuffix(folder, "..") {
			return false
		}
		folder = path.Dir(folder)
	}
	return false
}
