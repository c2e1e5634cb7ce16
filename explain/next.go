package explain

import (
	"slices"
	"strings"

	"berth/check"
	"berth/platform"
)

func (e *Explanation) next(title, command string) {
	same := func(f check.Fix) bool { return f.Title == title && f.Command == command }
	if !slices.ContainsFunc(e.Next, same) {
		e.Next = append(e.Next, check.Fix{Title: title, Command: command})
	}
}

// fixes are what mends a confirmed failure: what the rules of package check say, which
// know the target, and what the proof says.
func (e *Explanation) fixes(j *judged) {
	if j.subject.Named == nil && j.subject.Subject != nil && j.subject.Err == nil {
		for _, f := range check.Run([]*check.Subject{j.subject.Subject})[0].Findings {
			if f.Severity == check.Error {
				for _, fix := range f.Fixes {
					e.next(fix.Title, fix.Command)
				}
			}
		}
	}
	if j.failure != nil && j.failure.Fix != "" {
		mends := func(f check.Fix) bool { return f.Title == j.failure.Fix || f.Command != "" }
		if !slices.ContainsFunc(e.Next, mends) {
			e.next(j.failure.Fix, "")
		}
	}
}

func (e *Explanation) nextWith(said Said, j *judged) {
	name := j.subject.Name
	switch j.conclusion {
	case Confirmed:
		e.fixes(j)
		for _, r := range e.Causes {
			if r.Status == Established && len(e.Next) == 0 {
				e.next(causeOf(r.Cause).Fix, "")
			}
		}
	case Differs:
		e.fixes(j)
		e.whichImage()
	case Contradicted:
		e.whichImage()
	case Likely:
		if j.subject.Assumed {
			e.next("name where it runs, and berth holds the image against that", "berth explain --image "+quote(name)+" --for TARGET "+quote(said.Match))
		}
		e.moreSaid(said)
		if start := j.subject.start(); start != nil && start.Proof != nil && start.Proof.Derived != nil && start.Proof.Derived.Failure != nil {
			e.next(start.Proof.Derived.Failure.Fix, "")
		}
		for _, r := range e.Causes {
			if c := causeOf(r.Cause); r.Status == Possible && c.Kind == Beyond {
				e.next("if "+c.Title+": "+c.Fix, "")
			}
		}
		if j.subject.Assumed {
			e.whichImage()
		}
	case Unknown:
		if j.subject.Err != nil {
			e.next("see whether the image can be read", "berth inspect "+quote(name))
		} else {
			e.next("see how far the proof comes", "berth prove "+quote(name)+" --platform "+platform.Format(j.subject.Need.Platform))
		}
	}
}

// nextWithout is what to do without an image: let berth look at it.
func (e *Explanation) nextWithout(said Said) {
	name := "IMAGE"
	if e.Reading.Reference != "" {
		name = quote(e.Reading.Reference)
	}
	where := e.where()
	command := "berth explain --image " + name + where + " " + quote(said.Match)
	if said.Text.Stage == StagePull {
		e.next("see which platforms the image has", "berth inspect "+name)
		if where != "" {
			e.next("hold it against what is needed, with what to type", "berth check "+name+where)
		} else {
			e.next("hold it against where it is deployed", "berth check "+name+" --for TARGET")
		}
	} else {
		e.moreSaid(said)
		e.next("let berth rule the causes in and out from the image's bytes", command)
	}
}

// where is the --for that the log gives away, with a blank before it, or empty.
func (e *Explanation) where() string {
	wanted, _ := e.platforms()
	switch t := e.Reading.Target; {
	case t != "" && t != "kubernetes" && platform.Known(wanted) && wanted.OS == "linux":
		return " --for " + t + "/" + strings.TrimPrefix(platform.Format(wanted), "linux/")
	case t != "" && t != "kubernetes":
		return " --for " + t
	case platform.Known(wanted):
		return " --for " + platform.Format(wanted)
	}
	return ""
}

// place is the service whose tools know what ran: that of the log, or else the one that
// was asked about.
func (e *Explanation) place() string {
	name := e.Reading.Target
	if len(e.Subjects) > 0 && e.Subjects[0].Need.Target != nil && name == "" {
		name = e.Subjects[0].Need.Target.Name
	}
	switch {
	case strings.HasPrefix(name, "eks"):
		return "kubernetes"
	case name == "fargate", strings.HasPrefix(name, "ecs-"):
		return "ecs"
	}
	return name
}

// moreSaid is where a vague text's reason is to be found.
func (e *Explanation) moreSaid(said Said) {
	if said.Text.Weight != Vague {
		return
	}
	switch e.place() {
	case "kubernetes":
		e.next("read what the container wrote before it ended, and the events", "kubectl logs POD --previous; kubectl describe pod POD")
	case "lambda":
		e.next("read the function's log", "aws logs tail /aws/lambda/FUNCTION --since 1h")
	case "cloudrun":
		e.next("read the revision's log", "gcloud run services logs read SERVICE --limit 50")
	case "ecs":
		e.next("read why the task stopped", "aws ecs describe-tasks --cluster CLUSTER --tasks TASK --query 'tasks[].[stoppedReason,containers[].[name,exitCode,reason]]'")
	default:
		e.next("read what the container wrote before it ended", "docker logs CONTAINER")
	}
}

// whichImage is how to find out what really ran, and where.
func (e *Explanation) whichImage() {
	switch e.place() {
	case "kubernetes":
		e.next("see which digest ran", "kubectl get pod POD -o jsonpath='{.status.containerStatuses[*].imageID}'")
		e.next("see the architectures of the nodes", "kubectl get nodes -L kubernetes.io/arch")
	case "ecs":
		e.next("see which digest ran", "aws ecs describe-tasks --cluster CLUSTER --tasks TASK --query 'tasks[].containers[].[image,imageDigest]'")
		e.next("see which platform was asked for", "aws ecs describe-task-definition --task-definition FAMILY --query taskDefinition.runtimePlatform")
	case "lambda":
		e.next("see which digest runs, and on which architecture", "aws lambda get-function --function-name FUNCTION --query '[Code.ResolvedImageUri,Configuration.Architectures]'")
	case "cloudrun":
		e.next("see which digest ran", "gcloud run revisions describe REVISION --format='value(status.imageDigest)'")
	default:
		e.next("see which image ran", "docker inspect --format '{{.Config.Image}} {{.Image}}' CONTAINER")
		e.next("see the platform of the host", "docker version --format '{{.Server.Os}}/{{.Server.Arch}}'")
	}
}

func (e *Explanation) nextUnrecognised() {
	e.next("give berth whole lines, with the message of the runtime in them", "docker logs CONTAINER 2>&1 | berth explain")
	if len(e.Subjects) > 0 {
		return
	}
	name := "IMAGE"
	if e.Reading.Reference != "" {
		name = quote(e.Reading.Reference)
	}
	e.next("or let it say what happens when the image starts", "berth prove "+name)
}

// quote makes a word of a shell's command line.
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("./:@_-+,=%", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
