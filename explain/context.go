package explain

import (
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"
)

// reference is an image reference: the grammar of github.com/distribution/reference,
// a little looser.
const reference = `(?P<reference>(?:[A-Za-z0-9.-]+(?::[0-9]{1,5})?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(?:@sha256:[0-9a-f]{64})?)`

// place is where logs name the image that they are about.
type place struct {
	key     string // a part of every match, in lower case
	pattern *regexp.Regexp
	sample  string
	// loose places are in other logs too, and about other images: pictures.
	loose bool
}

func (p place) orPicture() place {
	p.loose = true
	return p
}

func placed(key, before, after, sample string) place {
	return place{key: key, pattern: regexp.MustCompile(before + reference + after), sample: sample}
}

// places are in order of trust. What they find in HOST/app:v1 is that reference.
var places = []place{
	placed("image", `(?:pull|unpack|extract|resolve|pulling|pulled) image "`, `"`, `Failed to pull image "HOST/app:v1": rpc error`),
	placed("reference", `reference "`, `"`, `failed to resolve reference "HOST/app:v1": not found`),
	placed("reference", `image with reference `, ` was found`, `image with reference HOST/app:v1 was found but does not match`),
	placed("locally", `Unable to find image '`, `' locally`, `Unable to find image 'HOST/app:v1' locally`),
	placed("image for", `(?:Downloaded newer image|Image is up to date) for `, `\s*$`, `Status: Downloaded newer image for HOST/app:v1`),
	placed("source image", `source image `, ` is not supported`, `layer media type for the source image HOST/app:v1 is not supported.`),
	placed("in index", `in index `, `(?:['";,\s]|$)`, `no child with platform linux/amd64 in index HOST/app:v1';`),
	placed("invalid value", `Invalid value: "`, `"`, `with details: 'Invalid value: "HOST/app:v1": image OS/Arc must be linux/amd64`),
	placed("image", `"(?:image|Image|imageUri|ImageUri|ResolvedImageUri)"\s*:\s*"`, `"`, `"image": "HOST/app:v1",`).orPicture(),
	placed("image:", `^\s*(?:[Ii]mage|- image):\s+"?`, `"?\s*$`, `    Image:         HOST/app:v1`).orPicture(),
	placed("image=", `\bimage="?`, `(?:["\s,)]|$)`, `container die 0a1b (exitCode=1, image=HOST/app:v1, name=web)`).orPicture(),
	placed("image ", `(?:for|from|using) image "?`, `(?:["\s,;]|$)`, `Error creating container from image HOST/app:v1`).orPicture(),
}

// referenceIn is the image that a line names, or empty.
func referenceIn(text, lower string) string {
	for _, p := range places {
		if !strings.Contains(lower, p.key) {
			continue
		}
		m := p.pattern.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		if found := m[p.pattern.SubexpIndex("reference")]; !p.loose || strings.ContainsAny(found, "/:@") {
			return found
		}
	}
	return ""
}

// runDigest is where logs say which manifest ran: the status of a Kubernetes pod, an
// ECS task.
var runDigest = regexp.MustCompile(`(?i)(?:image ?ID|imageDigest)["']?\s*[:=]\s*["']?[^\s"'@]*@?(sha256:[0-9a-f]{64})`)

// digestIn is the digest that a line says was run, or empty.
func digestIn(text, lower string) digest.Digest {
	if !strings.Contains(lower, "sha256:") || !strings.Contains(lower, "image") {
		return ""
	}
	if m := runDigest.FindStringSubmatch(text); m != nil {
		return digest.Digest(m[1])
	}
	return digestOf(referenceIn(text, lower))
}

// sign is what only logs of one deploy target have.
type sign struct {
	key    string // in lower case
	target string
	source string
}

// signs are in order: the more specific first.
var signs = []sign{
	{`"launchtype": "fargate"`, "fargate", "docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Task.html"},
	{`"launchtype":"fargate"`, "fargate", "docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Task.html"},
	{"runtime.invalidentrypoint", "lambda", "github.com/aws/aws-lambda-go/issues/554"},
	{"service: lambda, status code", "lambda", "github.com/aws/aws-lambda-roadmap/issues/82"},
	{"aws::lambda::function", "lambda", "github.com/aws-samples/bedrock-access-gateway/issues/206"},
	{"cloud_run_revision", "cloudrun", "docs.cloud.google.com/run/docs/troubleshooting"},
	{"gcloud.run.", "cloudrun", "docs.cloud.google.com/run/docs/troubleshooting"},
	{"terminated: application failed to start", "cloudrun", "github.com/GoogleCloudPlatform/jit-groups/issues/270"},
	{"port defined by the port environment variable", "cloudrun", "docs.cloud.google.com/run/docs/troubleshooting"},
	{"port defined provided by the port=", "cloudrun", "github.com/pulumi/templates/pull/490"},
	{"for container app '", "container-apps", "github.com/Azure/GPT-RAG/issues/418"},
	{"field 'template.containers.", "container-apps", "github.com/Azure/GPT-RAG/issues/418"},
	{"heroku[", "heroku", "github.com/launchdarkly/ld-relay/issues/137"},
	{"registry.heroku.com", "heroku", "github.com/heroku/cli/issues/1807"},
	{"registry.fly.io", "fly", "fly.io/docs/machines/flyctl/fly-machine-run"},
	{"[apprunner]", "apprunner", "docs.aws.amazon.com/apprunner/latest/dg/monitor-cwl.html"},
	{"/opt/elasticbeanstalk/", "elasticbeanstalk", "docs.aws.amazon.com/elasticbeanstalk/latest/dg/using-features.logging.html"},
	{"crashloopbackoff", "kubernetes", "kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle"},
	{"imagepullbackoff", "kubernetes", "kubernetes.io/docs/concepts/containers/images"},
	{"errimagepull", "kubernetes", "kubernetes.io/docs/concepts/containers/images"},
	{"back-off restarting failed container", "kubernetes", "github.com/kubernetes/kubernetes pkg/kubelet/kuberuntime/kuberuntime_manager.go"},
	{" kubelet ", "kubernetes", "kubernetes.io/docs/reference/kubectl/generated/kubectl_describe"},
}
