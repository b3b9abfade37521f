package chart_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// gateways are those for which docs/recipes has something, in the versions that docs/gateways.md names.
var gateways = []definition{
	{"github.com/envoyproxy/gateway", "v1.9.1", "charts/gateway-helm/charts/crds/crds/generated/gateway.envoyproxy.io_backendtrafficpolicies.yaml", ""},
	{"istio.io/api", "v1.32.0", "kubernetes/customresourcedefinitions.gen.yaml", "DestinationRule"},
	{"github.com/projectcontour/contour", "v1.33.8", "examples/contour/01-crds.yaml", "HTTPProxy"},
}

func recipe(t *testing.T, file string) manifests {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../../docs/recipes", file))
	require.NoError(t, err)
	var made manifests
	require.NoError(t, made.add(string(text)))
	return made
}

// behindAGateway are the values that docs/gateways.md has for the chart: with its routes, and without.
func behindAGateway(t *testing.T) (withRoutes, without manifests) {
	t.Helper()
	page, err := os.ReadFile("../../../docs/gateways.md")
	require.NoError(t, err)
	values := regexp.MustCompile("(?s)\n```yaml\n(.*?)```\n").FindAllStringSubmatch(string(page), -1)
	require.Len(t, values, 2)
	return render(t, values[0][1]), render(t, values[1][1])
}

func TestGatewaysTakeTheRecipes(t *testing.T) {
	server := newAPI(t, kubernetesVersions[len(kubernetesVersions)-1])
	page, err := os.ReadFile("../../../docs/gateways.md")
	require.NoError(t, err)
	for _, gateway := range gateways {
		server.take(t, gateway)
		assert.Contains(t, string(page), "| "+strings.TrimPrefix(gateway.version, "v")+" |")
	}
	files, err := os.ReadDir("../../../docs/recipes")
	require.NoError(t, err)
	require.Len(t, files, 4)
	for _, file := range files {
		assert.Contains(t, string(page), "(recipes/"+file.Name()+")")
		for _, object := range recipe(t, file.Name()).objects {
			require.NoError(t, server.refusal(object), file.Name())
			assert.Equal(t, "livecomments", object.GetNamespace())
		}
	}
}

func TestTheRecipesAreForWhatTheChartMakes(t *testing.T) {
	withRoutes, without := behindAGateway(t)
	for _, rendered := range []manifests{withRoutes, without} {
		assert.Equal(t, "random", env(t, rendered.pods(t)["reader"])["ROUTING"].Value)
		assert.NotContains(t, rendered.names("Deployment"), "livecomments-gateway")
	}

	policy := one[struct {
		Spec struct{ TargetRefs []struct{ Kind, Name string } }
	}](t, recipe(t, "envoy-gateway.yaml"), "BackendTrafficPolicy", "livecomments")
	for _, target := range policy.Spec.TargetRefs {
		assert.Contains(t, withRoutes.names(target.Kind), target.Name)
	}

	rule := one[struct{ Spec struct{ Host string } }](t, recipe(t, "istio.yaml"), "DestinationRule", "livecomments-reader")
	name, _, _ := strings.Cut(rule.Spec.Host, ".")
	assert.Contains(t, withRoutes.names("Service"), name)

	services := all[corev1.Service](t, without, "Service")
	proxy := one[struct {
		Spec struct {
			Routes []struct {
				Conditions []struct{ Exact string }
				Services   []struct {
					Name string
					Port int32
				}
			}
		}
	}](t, recipe(t, "contour.yaml"), "HTTPProxy", "livecomments")
	routes := map[string]string{}
	for _, route := range proxy.Spec.Routes {
		routes[route.Conditions[0].Exact] = route.Services[0].Name
		require.Contains(t, services, route.Services[0].Name)
		assert.Equal(t, services[route.Services[0].Name].Spec.Ports[0].Port, route.Services[0].Port)
	}
	assert.Equal(t, map[string]string{"/comment": "livecomments-comment", "/connect": "livecomments-reader"}, routes)

	var hashed []string
	clear(routes)
	for name, ingress := range all[networkingv1.Ingress](t, recipe(t, "ingress-nginx.yaml"), "Ingress") {
		path := ingress.Spec.Rules[0].HTTP.Paths[0]
		routes[path.Path] = path.Backend.Service.Name
		if ingress.Annotations["nginx.ingress.kubernetes.io/upstream-hash-by"] == "$arg_videoid" {
			hashed = append(hashed, name)
		}
	}
	assert.Equal(t, []string{"livecomments-connect"}, hashed)
	assert.Equal(t, map[string]string{"/comment": "livecomments-comment", "/connect": "livecomments-reader"}, routes)
}
