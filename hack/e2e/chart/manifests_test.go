package chart_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chartutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestEveryKubernetesTakesWhatIsMadeOfTheValues(t *testing.T) {
	for _, version := range kubernetesVersions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			server := newAPI(t, version)
			for _, set := range sorted(valueSets) {
				t.Run(set, func(t *testing.T) {
					made, err := install(load(t), valueSets[set], forKubernetes(t, version))
					require.NoError(t, err)
					for _, object := range made.objects {
						assert.NoError(t, server.refusal(object))
					}
				})
			}
		})
	}
}

// Without this nobody would know that the test above can fail.
func TestAManifestWithAMistakeIsRefused(t *testing.T) {
	for _, version := range []string{kubernetesVersions[0], kubernetesVersions[len(kubernetesVersions)-1]} {
		server := newAPI(t, version)
		for _, test := range []struct {
			mistake, kind, because string
			field                  []string
			value                  any
		}{
			{"a misspelt field", "Deployment", "'replica' not allowed", []string{"spec", "replica"}, int64(3)},
			{"a misspelt field deep down", "Deployment", "'runAsNonRoots' not allowed", []string{"spec", "template", "spec", "securityContext", "runAsNonRoots"}, true},
			{"a misspelt field of the metadata", "Service", "'label' not allowed", []string{"metadata", "label"}, map[string]any{"a": "b"}},
			{"a field in the wrong place", "StatefulSet", "'terminationGracePeriodSeconds' not allowed", []string{"spec", "terminationGracePeriodSeconds"}, int64(3)},
			{"a wrong type", "HorizontalPodAutoscaler", "got string, want integer", []string{"spec", "maxReplicas"}, "20"},
			{"a value that is no string", "ConfigMap", "got number, want string", []string{"data", "a"}, int64(1)},
			{"a missing field", "Deployment", "missing property 'selector'", []string{"spec", "selector"}, nil},
			{"a null in a custom resource", "ServiceMonitor", "got null, want array", []string{"spec", "endpoints"}, nil},
			{"a misspelt field of a custom resource", "ServiceMonitor", "'endpoint' not allowed", []string{"spec", "endpoint"}, []any{}},
			{"a misspelt field of a custom resource's metadata", "PrometheusRule", "'label' not allowed", []string{"metadata", "label"}, map[string]any{"a": "b"}},
			{"a wrong type in a custom resource", "HTTPRoute", "got object, want array", []string{"spec", "rules"}, map[string]any{}},
			{"a kind that does not exist", "Ingress", "there is no", []string{"apiVersion"}, "networking.k8s.io/v1beta1"},
		} {
			t.Run(version+": "+test.mistake, func(t *testing.T) {
				objects := render(t, everything).objects
				at := slices.IndexFunc(objects, func(object unstructured.Unstructured) bool { return object.GetKind() == test.kind })
				require.GreaterOrEqual(t, at, 0)
				require.NoError(t, server.refusal(objects[at]))
				object := objects[at].DeepCopy()
				require.NoError(t, unstructured.SetNestedField(object.Object, test.value, test.field...))
				require.ErrorContains(t, server.refusal(*object), test.because)
			})
		}
	}
}

func TestItNeedsTheOldestKubernetesThatIsTested(t *testing.T) {
	_, err := install(load(t), "", forKubernetes(t, "v1.29.15"))
	require.ErrorContains(t, err, "chart requires kubeVersion: >=1.30.0")
	// As clouds call theirs.
	for _, version := range []string{"v1.30.0-gke.100", "v1.34.4-eks-1234567"} {
		_, err := install(load(t), "", forKubernetes(t, version))
		require.NoError(t, err)
	}
}

func TestLintFindsNothingInAnyValues(t *testing.T) {
	for set, values := range valueSets {
		t.Run(set, func(t *testing.T) {
			parsed, err := chartutil.ReadValues([]byte(values))
			require.NoError(t, err)
			lint := action.NewLint()
			lint.Strict, lint.Namespace, lint.KubeVersion = true, namespace, &chartutil.KubeVersion{Version: "v1.30.0", Major: "1", Minor: "30"}
			assert.Empty(t, lint.Run([]string{chartDir}, parsed).Errors)
		})
	}
}

func TestNamesFitHoweverLongTheRelease(t *testing.T) {
	long := strings.Repeat("long-name-", 6)[:53]
	seen := map[string]bool{}
	for _, object := range called(t, long).objects {
		name := object.GetName()
		assert.LessOrEqual(t, len(name), 63, name)
		assert.Regexp(t, "^[a-z]([-a-z0-9]*[a-z0-9])?$", name)
		assert.False(t, seen[object.GetKind()+name], "two are called %s", name)
		seen[object.GetKind()+name] = true
		for key, value := range object.GetLabels() {
			assert.LessOrEqual(t, len(value), 63, key)
		}
	}
}

func called(t *testing.T, name string) manifests {
	t.Helper()
	made, err := install(load(t), everything, func(installation *action.Install) { installation.ReleaseName = name })
	require.NoError(t, err)
	return made
}

func TestOneNamespaceHoldsSeveralReleases(t *testing.T) {
	names := map[string]string{}
	for _, name := range []string{"livecomments", "staging", "live"} {
		for _, object := range called(t, name).objects {
			assert.Empty(t, object.GetNamespace(), "Helm chooses it")
			key := object.GetKind() + "/" + object.GetName()
			assert.Empty(t, names[key], "%s is of two releases", key)
			names[key] = name
		}
	}
}

func TestTheNotesSayHowToReachIt(t *testing.T) {
	for set, expect := range map[string][]string{
		"": {
			"port-forward service/livecomments-gateway 8080:80", "curl -N 'http://localhost:8080/connect", "get hpa livecomments-reader",
			"Nothing is reachable from outside yet", "http://localhost:8080/watch?videoid=demo\n", "A delivery costs it about 17 µs of CPU",
		},
		publicPages:                    {"http://live.example.org/\n     http://live.example.org/watch?videoid=demo\n"},
		"gateway: {statistics: false}": {"http://localhost:5000/watch?videoid=demo\n"},
		random:                         {"port-forward service/livecomments-reader 4000:4000", "curl -N 'http://localhost:4000/connect", "more readers do not help"},
		hostPorts: {
			"curl -NL 'http://localhost:4000/connect", "must reach each at\n\n     http://$(HOST_IP):4000\n", "one reader a node",
			"it must be privileged: baseline and restricted refuse host ports",
		},
		"{routing: {mode: redirect}, reader: {hostPort: 4000}}": {"reader.autoscaling.maxReplicas=20 should not be more than there are nodes"},
		secured:    {"curl -NL --insecure 'https://localhost:4000/connect", "https://$(NODE_NAME).live.example.org:8443/"},
		everything: {"https://live.example.org/connect", "get hpa livecomments-reader"},
		keda:       {"get hpa keda-hpa-livecomments-reader"},
		byHand:     {"scale deployment/livecomments-reader --replicas=6"},
		noPassword: {"WARNING: Redis asks for no password"},
		"httpRoute: {enabled: true, parentRefs: [{name: public}], hostnames: [live.example.org]}": {"https://live.example.org/connect"},
	} {
		notes := render(t, set).notes
		for _, expect := range expect {
			assert.Contains(t, notes, expect, set)
		}
	}
}
