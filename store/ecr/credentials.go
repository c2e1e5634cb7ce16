package ecr

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	"github.com/aws/smithy-go"

	"berth/store/registry"
)

const (
	// expiryMargin is how long before its end a login (12 hours) is renewed.
	expiryMargin = 5 * time.Minute
	// loginTimeout bounds the whole login: the chain may ask a metadata service that
	// is not there, or run a program.
	loginTimeout = 30 * time.Second
	// logIn is what to type, by where the credentials come from.
	logIn = "run `aws sso login` (IAM Identity Center), `aws configure` (access keys), or set AWS_PROFILE"
)

// Options configure a [Client]. The zero value is for AWS itself.
type Options struct {
	// Create is how repositories that are missing are created when they are pushed to;
	// nil creates none.
	Create *Settings
	// Endpoint is the base URL of the API, for tests; AWS's own where empty.
	Endpoint string
	// HTTPClient sends the API's requests; the SDK's where nil.
	HTTPClient *http.Client
}

// Client speaks to the API of Amazon ECR with the AWS credential chain, as far as a run
// needs it. It is safe for concurrent use.
type Client struct {
	options Options

	mu sync.Mutex
	// used are the configurations whose credentials were found to be good.
	used map[Registry]aws.Config
}

// New makes a client. It touches neither network nor disk.
func New(options Options) *Client {
	return &Client{options: options, used: map[Registry]aws.Config{}}
}

// Credentials asks base first, and where that finds nothing for an ECR host, logs
// in with the AWS credential chain: environment, shared files with their profiles,
// SSO and processes, web identity, container and instance roles. What is logged in
// with this way expires with Credential.Expires, up to which registry.Client keeps
// it; nothing is kept here.
//
// public.ecr.aws lets everybody read, so it is anonymous where the chain has no
// credentials or they are no longer good, and instance roles are not asked for:
// looking for one takes seconds wherever there is none.
//
// A nil base finds nothing. The chain looks up the environment itself.
func (c *Client) Credentials(base registry.Credentials) registry.Credentials {
	return registry.CredentialsFunc(func(ctx context.Context, host string) (registry.Credential, error) {
		if base != nil {
			found, err := base.Credential(ctx, host)
			if err != nil || !found.Anonymous() {
				return found, err
			}
		}
		at, ok := Parse(host)
		if !ok {
			return registry.Credential{}, nil
		}
		bounded, cancel := context.WithTimeout(ctx, loginTimeout)
		defer cancel()
		credential, err := c.login(bounded, at)
		if at.Public && err != nil && ctx.Err() == nil {
			return registry.Credential{}, nil
		}
		return credential, err
	})
}

// config finds the credentials for the API of a registry.
func (c *Client) config(ctx context.Context, at Registry) (aws.Config, error) {
	load := []func(*config.LoadOptions) error{config.WithRegion(at.Region)}
	if c.options.HTTPClient != nil {
		load = append(load, config.WithHTTPClient(c.options.HTTPClient))
	}
	if at.FIPS {
		load = append(load, config.WithUseFIPSEndpoint(aws.FIPSEndpointStateEnabled))
	}
	if at.Public {
		load = append(load, config.WithEC2IMDSClientEnableState(imds.ClientDisabled))
	}
	loaded, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return aws.Config{}, fmt.Errorf("the AWS configuration cannot be read: %w", err)
	}
	if _, err := loaded.Credentials.Retrieve(ctx); err != nil {
		if ctx.Err() != nil {
			return aws.Config{}, ctx.Err()
		}
		return aws.Config{}, fmt.Errorf("no AWS credentials that can be used: %s: %w", logIn, err)
	}
	if c.options.Endpoint != "" {
		loaded.BaseEndpoint = &c.options.Endpoint
	}
	return loaded, nil
}

// login asks the API for what a registry takes as user name and password.
func (c *Client) login(ctx context.Context, at Registry) (registry.Credential, error) {
	loaded, err := c.config(ctx, at)
	if err != nil {
		return registry.Credential{}, err
	}
	credential, err := logInWith(ctx, loaded, at)
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.used[at] = loaded
	}
	return credential, err
}

func logInWith(ctx context.Context, loaded aws.Config, at Registry) (registry.Credential, error) {
	if at.Public {
		answer, err := ecrpublic.NewFromConfig(loaded).GetAuthorizationToken(ctx, nil)
		if err != nil {
			return registry.Credential{}, explain(err, loggingIn, "ecr-public:GetAuthorizationToken")
		}
		if answer.AuthorizationData == nil {
			return registry.Credential{}, errNoLogin
		}
		return decode(answer.AuthorizationData.AuthorizationToken, answer.AuthorizationData.ExpiresAt)
	}
	answer, err := ecr.NewFromConfig(loaded).GetAuthorizationToken(ctx, nil)
	if err != nil {
		return registry.Credential{}, explain(err, loggingIn, "ecr:GetAuthorizationToken")
	}
	if len(answer.AuthorizationData) == 0 {
		return registry.Credential{}, errNoLogin
	}
	return decode(answer.AuthorizationData[0].AuthorizationToken, answer.AuthorizationData[0].ExpiresAt)
}

const loggingIn = "logging in to Amazon ECR"

var errNoLogin = errors.New("the ECR API answered without an authorization token")

// decode reads USER:PASSWORD in base64.
func decode(token *string, expires *time.Time) (registry.Credential, error) {
	raw, err := base64.StdEncoding.DecodeString(aws.ToString(token))
	username, password, ok := strings.Cut(string(raw), ":")
	if err != nil || !ok || password == "" {
		return registry.Credential{}, errNoLogin
	}
	credential := registry.Credential{Username: username, Password: password}
	if expires != nil {
		credential.Expires = expires.Add(-expiryMargin)
	}
	return credential, nil
}

// explain says what mends an error of the API. The codes are those of its "Common
// Errors" and of STS; permission is what the call needs.
func explain(err error, doing, permission string) error {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return fmt.Errorf("%s: %w", doing, err)
	}
	switch api.ErrorCode() {
	case "ExpiredTokenException", "ExpiredToken", "RequestExpired":
		return fmt.Errorf("%s: the AWS credentials have expired: %s: %w", doing, logIn, err)
	case "UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "IncompleteSignature", "MissingAuthenticationToken":
		return fmt.Errorf("%s: AWS does not accept these credentials: %s: %w", doing, logIn, err)
	case "AccessDeniedException", "AccessDenied":
		return fmt.Errorf("%s: these AWS credentials may not do that: allow them %s: %w", doing, permission, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}
