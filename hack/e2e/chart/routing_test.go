package chart_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/scheme"
	podsecurity "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

func TestAViewerBelongsWhereTheModeSays(t *testing.T) {
	for _, test := range []struct {
		values   string
		settings map[string]string
	}{
		{"", map[string]string{
			"ROUTING": "bounded", "LOAD_BOUND": "0.25", "MOVE_RATE": "0.02", "BEHIND_GATEWAY": "true",
		}},
		{"routing: {mode: gateway, loadBound: 1, moveRate: 0}", map[string]string{
			"ROUTING": "bounded", "LOAD_BOUND": "1", "MOVE_RATE": "0", "BEHIND_GATEWAY": "true",
		}},
		{random, map[string]string{"ROUTING": "random"}},
		{hostPorts, map[string]string{
			"ROUTING": "bounded", "LOAD_BOUND": "0.25", "MOVE_RATE": "0.02", "ADVERTISE_URL": "http://$(HOST_IP):4000",
		}},
		{secured, map[string]string{
			"ROUTING": "bounded", "LOAD_BOUND": "0.25", "MOVE_RATE": "0.02", "ADVERTISE_URL": "https://$(NODE_NAME).live.example.org:8443/",
			"TLS_CERT_FILE": "/etc/reader-tls/tls.crt", "TLS_KEY_FILE": "/etc/reader-tls/tls.key",
		}},
		{"{routing: {mode: redirect}, reader: {hostPort: 443, tls: {secretName: live-tls}}}", map[string]string{
			"ROUTING": "bounded", "LOAD_BOUND": "0.25", "MOVE_RATE": "0.02", "ADVERTISE_URL": "https://$(HOST_IP):443",
			"TLS_CERT_FILE": "/etc/reader-tls/tls.crt", "TLS_KEY_FILE": "/etc/reader-tls/tls.key",
		}},
	} {
		found := map[string]string{}
		for name, variable := range env(t, render(t, test.values).pods(t)["reader"]) {
			if slices.Contains([]string{"ROUTING", "ADVERTISE_URL", "LOAD_BOUND", "MOVE_RATE", "BEHIND_GATEWAY", "TLS_CERT_FILE", "TLS_KEY_FILE"}, name) {
				found[name] = variable.Value
			}
		}
		assert.Equal(t, test.settings, found, test.values)
	}
}

func TestWhatStandsInAnAddressIsKnownBeforeIt(t *testing.T) {
	for _, values := range []string{"", hostPorts, secured, "{routing: {mode: redirect}, reader: {advertise: {url: 'http://$(POD_IP).$(HOST_IP).$(NODE_NAME)'}}}"} {
		fields := map[string]string{}
		for _, variable := range render(t, values).pods(t)["reader"].Spec.Containers[0].Env {
			if variable.ValueFrom != nil && variable.ValueFrom.FieldRef != nil {
				fields["$("+variable.Name+")"] = variable.ValueFrom.FieldRef.FieldPath
			}
			if variable.Name != "ADVERTISE_URL" {
				continue
			}
			known := map[string]string{"$(POD_IP)": "status.podIP", "$(HOST_IP)": "status.hostIP", "$(NODE_NAME)": "spec.nodeName"}
			for name, field := range known {
				if strings.Contains(variable.Value, name) {
					assert.Equal(t, field, fields[name], values)
				}
			}
		}
	}
}

func TestAReaderHasAPortOfItsNodeAndAllElseIsRestricted(t *testing.T) {
	rendered := render(t, hostPorts)
	pod := rendered.pods(t)["reader"]
	assert.Equal(t, []corev1.ContainerPort{{Name: "http", ContainerPort: 4000, HostPort: 4000}}, pod.Spec.Containers[0].Ports)

	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	require.NoError(t, err)
	restricted := podsecurity.LevelVersion{Level: podsecurity.LevelRestricted, Version: podsecurity.LatestVersion()}
	result := policy.AggregateCheckResults(evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec))
	assert.Equal(t, []string{"hostPort"}, result.ForbiddenReasons)

	// Where every node has a reader, a new one must wait for an old one to go.
	update := one[appsv1.Deployment](t, rendered, "Deployment", "livecomments-reader").Spec.Strategy.RollingUpdate
	assert.Equal(t, [2]string{"0", "1"}, [2]string{update.MaxSurge.String(), update.MaxUnavailable.String()})
	update = one[appsv1.Deployment](t, render(t, ""), "Deployment", "livecomments-reader").Spec.Strategy.RollingUpdate
	assert.Equal(t, [2]string{"25%", "0"}, [2]string{update.MaxSurge.String(), update.MaxUnavailable.String()})
}

func TestReadersSpeakTLSAndAreAskedByIt(t *testing.T) {
	pods := render(t, secured).pods(t)
	reader := pods["reader"].Spec
	for _, probe := range []*corev1.Probe{reader.Containers[0].StartupProbe, reader.Containers[0].ReadinessProbe, reader.Containers[0].LivenessProbe} {
		assert.Equal(t, corev1.URISchemeHTTPS, probe.HTTPGet.Scheme)
	}
	assert.Equal(t, corev1.URISchemeHTTP, pods["comment"].Spec.Containers[0].ReadinessProbe.HTTPGet.Scheme)
	for _, viewers := range []string{"client", "test"} {
		pod := pods[viewers]
		assert.Equal(t, "https://livecomments-reader:4000", env(t, pod)["READER_API_URLS"].Value)
		assert.Equal(t, "http://livecomments-comment:3000", env(t, pod)["COMMENT_API_URL"].Value)
		assert.Equal(t, "/etc/reader-ca/ca.crt", env(t, pod)["READER_CA_FILE"].Value)
		require.Len(t, pod.Spec.Volumes, 1)
		assert.Equal(t, []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}}, pod.Spec.Volumes[0].Secret.Items, "viewers have no key")
	}
	withoutCA := render(t, strings.Replace(secured, "secretName: live-tls", "secretName: live-tls, caSecretKey: ''", 1)).pods(t)["client"]
	assert.NotContains(t, env(t, withoutCA), "READER_CA_FILE", "a public authority is known")
	assert.Empty(t, withoutCA.Spec.Volumes)
}

func TestThereIsAGatewayOnlyWhereItIsUsed(t *testing.T) {
	of := func(m manifests) (made []string) {
		for _, object := range m.objects {
			if object.GetLabels()[component] == "gateway" {
				made = append(made, object.GetKind()+" "+strings.TrimPrefix(object.GetName(), "livecomments-"))
			}
		}
		slices.Sort(made)
		return made
	}
	assert.Equal(t, []string{
		"ConfigMap gateway", "Deployment gateway", "NetworkPolicy from-gateway", "NetworkPolicy to-gateway", "NetworkPolicy to-gateway-metrics",
		"PodDisruptionBudget gateway", "Service gateway", "Service gateway-metrics",
	}, of(render(t, "")))
	assert.Empty(t, of(render(t, random)))
	assert.Empty(t, of(render(t, hostPorts)))
	assert.Empty(t, render(t, "gateway: {replicas: 1}").names("PodDisruptionBudget")[2:], "one pod must be evicted as it is")
}

func TestAGatewayThatStopsLetsItsStreamsGoOn(t *testing.T) {
	rendered := render(t, "gateway: {drain: {preStopSeconds: 7, timeoutSeconds: 300}}")
	pod := rendered.pods(t)["gateway"].Spec
	assert.Equal(t, []string{"/bin/sh", "-c", "sleep 7; kill -USR1 1; sleep 300"}, pod.Containers[0].Lifecycle.PreStop.Exec.Command)
	assert.GreaterOrEqual(t, *pod.TerminationGracePeriodSeconds, int64(307))
	// The signal reaches HAProxy itself, and is its own: no shell stands between.
	assert.Equal(t, "haproxy", pod.Containers[0].Command[0])
	settings := one[corev1.ConfigMap](t, rendered, "ConfigMap", "livecomments-gateway").Data["haproxy.cfg"]
	assert.Regexp(t, `(?m)^\s*hard-stop-after\s+300s?$`, settings)
	assert.Regexp(t, `(?m)^\s*maxconn\s+8000$`, settings, "viewers")
	assert.Regexp(t, `(?m)^\s*maxconn\s+9300$`, settings, "room for probes when it is full")
}

func TestTheGatewayListensWhereItIsAsked(t *testing.T) {
	rendered := render(t, "gateway: {service: {type: NodePort, port: 8000, nodePort: 30080}}")
	settings := one[corev1.ConfigMap](t, rendered, "ConfigMap", "livecomments-gateway").Data["haproxy.cfg"]
	container := rendered.pods(t)["gateway"].Spec.Containers[0]
	for _, port := range container.Ports {
		assert.Regexp(t, fmt.Sprintf(`(?m)^\s*bind\s+\S*:%d\b`, port.ContainerPort), settings)
	}
	for _, probe := range []*corev1.Probe{container.StartupProbe, container.ReadinessProbe, container.LivenessProbe} {
		assert.Equal(t, intstr.FromString("metrics"), probe.HTTPGet.Port)
	}
	public := one[corev1.Service](t, rendered, "Service", "livecomments-gateway").Spec
	assert.Equal(t, []corev1.ServicePort{{Name: "http", Port: 8000, NodePort: 30080, TargetPort: intstr.FromString("http")}}, public.Ports, "metrics are not for the public")
	for _, viewers := range []string{"client", "test"} {
		if pod, runs := rendered.pods(t)[viewers]; runs {
			assert.Equal(t, "http://livecomments-gateway:8000", env(t, pod)["READER_API_URLS"].Value)
			assert.Equal(t, "http://livecomments-gateway:8000", env(t, pod)["COMMENT_API_URL"].Value)
		}
	}
}

func TestAllThatComesFromOutsideGoesThroughTheGateway(t *testing.T) {
	rendered := render(t, "{ingress: {enabled: true, hosts: [live.example.org]}, httpRoute: {enabled: true, parentRefs: [{name: public}]}}")
	paths := one[networkingv1.Ingress](t, rendered, "Ingress", "livecomments").Spec.Rules[0].HTTP.Paths
	require.Len(t, paths, 1)
	assert.Equal(t, "/", paths[0].Path)
	assert.Equal(t, networkingv1.PathTypePrefix, *paths[0].PathType)
	assert.Equal(t, "livecomments-gateway", paths[0].Backend.Service.Name)
	rules := one[httpRoute](t, rendered, "HTTPRoute", "livecomments").Spec.Rules
	require.Len(t, rules, 1)
	assert.Equal(t, "PathPrefix /", rules[0].Matches[0].Path.Type+" "+rules[0].Matches[0].Path.Value)
	assert.Equal(t, "livecomments-gateway", rules[0].BackendRefs[0].Name)
	assert.EqualValues(t, 80, rules[0].BackendRefs[0].Port)
	assert.Equal(t, "0s", rules[0].Timeouts.Request, "a stream lives as long as the reader says")
}

func TestThePagesKnowWhereTheReadersAndTheCommentAPIAre(t *testing.T) {
	const ingress = "ingress: {enabled: true, hosts: ['*.example.org', live.example.org], tls: [{hosts: [live.example.org]}]}\n"
	const route = "httpRoute: {enabled: true, parentRefs: [{name: public}], hostnames: [live.example.org]}\n"
	for values, want := range map[string][2]string{
		"":                                       {"", ""},
		ingress:                                  {"", ""},
		"gateway: {statistics: false}":           {"http://localhost:8080", "http://localhost:8080"},
		ingress + "gateway: {statistics: false}": {"https://live.example.org", "https://live.example.org"},
		random:                                   {"http://localhost:4000", "http://localhost:3000"},
		secured:                                  {"https://localhost:4000", "http://localhost:3000"},
		random + "\n" + route:                    {"https://live.example.org", "https://live.example.org"},
		publicPages:                              {"", "https://api.example.org/live"},
		random + "\nstatistics: {pages: {readerUrl: 'https://r.example.org'}}": {"https://r.example.org", "http://localhost:3000"},
	} {
		variables := env(t, render(t, values).pods(t)["statistics"])
		assert.Equal(t, "true", variables["PAGES"].Value, values)
		assert.Equal(t, want, [2]string{variables["PAGES_READER_URL"].Value, variables["PAGES_COMMENT_URL"].Value}, values)
	}
	without := env(t, render(t, "statistics: {pages: {enabled: false}}").pods(t)["statistics"])
	assert.Equal(t, "false", without["PAGES"].Value)
}

// pagePaths are what the pages and their scripts ask for.
var pagePaths = []string{"/", "/assets", "/client.js", "/fleet", "/pages.json", "/viewers", "/watch"}

func TestPagesForEverybodyAreRoutedToTheStatisticsAPI(t *testing.T) {
	rendered := render(t, publicPages)
	for _, rule := range one[networkingv1.Ingress](t, rendered, "Ingress", "livecomments").Spec.Rules {
		var paths []string
		for _, path := range rule.HTTP.Paths {
			if path.Backend.Service.Name == "livecomments-statistics" {
				paths = append(paths, path.Path)
				assert.Equal(t, path.Path == "/assets", *path.PathType == networkingv1.PathTypePrefix, path.Path)
			}
		}
		assert.Equal(t, pagePaths, paths)
	}
	var paths []string
	for _, rule := range one[httpRoute](t, rendered, "HTTPRoute", "livecomments").Spec.Rules {
		if rule.BackendRefs[0].Name != "livecomments-statistics" {
			continue
		}
		assert.EqualValues(t, 5000, rule.BackendRefs[0].Port)
		assert.Equal(t, "0s", rule.Timeouts.Request, "the fleet's stream has no end")
		for _, match := range rule.Matches {
			paths = append(paths, match.Path.Value)
			assert.Equal(t, match.Path.Value == "/assets", match.Path.Type == "PathPrefix", match.Path.Value)
		}
	}
	assert.Equal(t, pagePaths, paths)
}

// ours are values of this repository's files, the last of which counts.
func ours(t *testing.T, files ...string) string {
	t.Helper()
	merged := map[string]any{}
	for _, file := range files {
		values, err := chartutil.ReadValuesFile("../../../k8s/" + file)
		require.NoError(t, err)
		merged = chartutil.CoalesceTables(values.AsMap(), merged)
	}
	text, err := yaml.Marshal(merged)
	require.NoError(t, err)
	return string(text)
}

func TestKindAnswersOnThisMachine(t *testing.T) {
	text, err := os.ReadFile("../../../k8s/kind.yaml")
	require.NoError(t, err)
	var kind struct {
		Nodes []struct {
			ExtraPortMappings []struct{ ContainerPort int32 }
		}
	}
	require.NoError(t, yaml.Unmarshal(text, &kind))
	var mapped []int32
	for _, mapping := range kind.Nodes[0].ExtraPortMappings {
		mapped = append(mapped, mapping.ContainerPort)
	}
	for _, files := range [][]string{{"values-kind.yaml"}, {"values-kind.yaml", "values-offline.yaml"}} {
		rendered := render(t, ours(t, files...))
		var open []int32
		for _, service := range all[corev1.Service](t, rendered, "Service") {
			if service.Spec.Type == corev1.ServiceTypeNodePort {
				open = append(open, service.Spec.Ports[0].NodePort)
			}
		}
		assert.ElementsMatch(t, mapped, open, files)
		assert.Contains(t, rendered.names("Deployment"), "livecomments-gateway")
	}
	reader := render(t, ours(t, "values-kind.yaml", "values-dev.yaml")).pods(t)["reader"]
	assert.Equal(t, "http://$(HOST_IP):4000", env(t, reader)["ADVERTISE_URL"].Value)
	for mode, routing := range map[string]string{"random": "random", "gateway": "bounded"} {
		reader := render(t, strings.Replace(ours(t, "values-ci.yaml"), "mode: random", "mode: "+mode, 1)).pods(t)["reader"]
		assert.Equal(t, routing, env(t, reader)["ROUTING"].Value)
	}
}

// cluster has objects for the chart to look up.
type cluster struct{ dynamic.Interface }

func (c cluster) GetClientFor(_, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	return c.Resource(schema.GroupVersionResource{Version: "v1", Resource: strings.ToLower(kind) + "s"}), kind == "Secret", nil
}

// installInto says why the chart is not installed into a cluster with these nodes, whose namespace has this level of Pod Security.
func installInto(t *testing.T, values, level string, nodes ...corev1.Node) error {
	t.Helper()
	labels := map[string]string{}
	if level != "" {
		labels[podsecurity.EnforceLevelLabel] = level
	}
	objects := []runtime.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: labels}}}
	for i := range nodes {
		nodes[i].Name = fmt.Sprint("node-", i)
		objects = append(objects, &nodes[i])
	}
	parsed, err := chartutil.ReadValues([]byte(values))
	require.NoError(t, err)
	loaded := load(t)
	ready, err := chartutil.ToRenderValues(loaded, parsed, chartutil.ReleaseOptions{Name: release, Namespace: namespace}, chartutil.DefaultCapabilities)
	require.NoError(t, err)
	_, err = engine.RenderWithClientProvider(loaded, ready, cluster{fake.NewSimpleDynamicClient(scheme.Scheme, objects...)})
	return err
}

func TestHostPortsAreRefusedBeforeHalfAFleetIsThere(t *testing.T) {
	node := func(taints ...corev1.Taint) corev1.Node { return corev1.Node{Spec: corev1.NodeSpec{Taints: taints}} }
	control := node(corev1.Taint{Key: "node-role.kubernetes.io/control-plane", Effect: corev1.TaintEffectNoSchedule})
	cordoned := corev1.Node{Spec: corev1.NodeSpec{Unschedulable: true, Taints: []corev1.Taint{{Key: "node.kubernetes.io/unschedulable", Effect: corev1.TaintEffectNoSchedule}}}}
	booting := node(corev1.Taint{Key: "node.kubernetes.io/not-ready", Effect: corev1.TaintEffectNoSchedule})
	video := node(corev1.Taint{Key: "for", Value: "video", Effect: corev1.TaintEffectNoExecute})
	with := func(reader string) string {
		return "{routing: {mode: redirect}, reader: {hostPort: 4000, " + reader + "}}"
	}
	two, byHand := with("replicas: 2, autoscaling: {enabled: false}"), with("replicas: null, autoscaling: {enabled: false}")

	for _, test := range []struct {
		what, values, level string
		nodes               []corev1.Node
		reason              string // none: it is installed
	}{
		{"a reader a node", two, "", []corev1.Node{node(), node()}, ""},
		{"a node of three is the control plane", two, "privileged", []corev1.Node{control, node(), node()}, ""},
		{"a node is just booting", two, "", []corev1.Node{booting, node()}, ""},
		{"kubectl scale has the number", byHand, "", []corev1.Node{node()}, ""},
		{"taints are borne", with("replicas: 2, autoscaling: {enabled: false}, tolerations: [{key: for, value: video}, {key: node-role.kubernetes.io/control-plane, operator: Exists, effect: NoSchedule}]"), "", []corev1.Node{control, video}, ""},
		{"every taint is borne", with("replicas: 2, autoscaling: {enabled: false}, tolerations: [{operator: Exists}]"), "", []corev1.Node{control, video}, ""},
		{"no host port", "", "restricted", []corev1.Node{node()}, ""},
		{"not to be asked", with("hostPortChecks: false"), "restricted", []corev1.Node{node()}, ""},

		{"restricted", two, "restricted", []corev1.Node{node(), node()}, "reader.hostPort=4000 is refused in the namespace videos, whose label pod-security.kubernetes.io/enforce is restricted: install into"},
		{"baseline", two, "baseline", []corev1.Node{node(), node()}, "whose label pod-security.kubernetes.io/enforce is baseline: install into"},
		{"too few nodes", two, "", []corev1.Node{node()}, "reader.replicas=2 is more than the 1 nodes that can run a reader: with reader.hostPort there is one reader a node"},
		{"the control plane runs none", two, "", []corev1.Node{control, node()}, "reader.replicas=2 is more than the 1 nodes"},
		{"a node is cordoned", two, "", []corev1.Node{cordoned, node()}, "reader.replicas=2 is more than the 1 nodes"},
		{"another taint is borne", with("replicas: 2, autoscaling: {enabled: false}, tolerations: [{key: for, value: audio}, {key: for, value: video, effect: NoSchedule}]"), "", []corev1.Node{video, node()}, "reader.replicas=2 is more than the 1 nodes"},
		{"no node is chosen", with("replicas: 1, autoscaling: {enabled: false}, nodeSelector: {for: video}"), "", []corev1.Node{node()}, "reader.replicas=1 is more than the 0 nodes"},
		{"the autoscaler wants more", with("replicas: 1"), "", []corev1.Node{node(), node()}, "reader.autoscaling.minReplicas=3 is more than the 2 nodes"},
	} {
		t.Run(test.what, func(t *testing.T) {
			err := installInto(t, test.values, test.level, test.nodes...)
			if test.reason == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, test.reason)
			}
		})
	}
}
