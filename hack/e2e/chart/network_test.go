package chart_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// end is one of a connection: a pod of the release, or one of another namespace.
type end struct {
	namespace string
	labels    map[string]string
}

// network is what the policies make of the cluster.
type network struct {
	policies map[string]networkingv1.NetworkPolicy
	ends     map[string]end
}

func networkOf(t *testing.T, m manifests) network {
	t.Helper()
	n := network{all[networkingv1.NetworkPolicy](t, m, "NetworkPolicy"), map[string]end{
		"edge":       {"edge", nil},
		"prometheus": {"monitoring", nil},
		"neighbour":  {namespace, map[string]string{"app": "another"}},
	}}
	for name, pod := range m.pods(t) {
		n.ends[name] = end{namespace, pod.Labels}
	}
	return n
}

// listens are the ports of the containers. Policies name them by number, because some networks take a name for any port.
var listens = map[string]int32{"comment": 3000, "reader": 4000, "statistics": 5000, "reports": 5001, "client": 6100, "redis": 6379, "gateway": 8080, "gateway metrics": 8404}

// podOf is the end that has a target's port.
func podOf(target string) string {
	switch target {
	case "reports":
		return "statistics"
	case "gateway metrics":
		return "gateway"
	}
	return target
}

// connections are those that are allowed, each to the port where its target listens.
func (n network) connections(t *testing.T, targets ...string) []string {
	t.Helper()
	return n.pairs(targets, func(from, to string, port intstr.IntOrString) bool {
		return n.leaves(t, from, to, port) && n.enters(t, from, to, port)
	})
}

func (n network) pairs(targets []string, allows func(from, to string, port intstr.IntOrString) bool) []string {
	var allowed []string
	for from := range n.ends {
		for _, to := range targets {
			port := intstr.FromInt32(listens[to])
			if pod := podOf(to); from != pod && allows(from, pod, port) {
				allowed = append(allowed, from+" to "+to)
			}
		}
	}
	slices.Sort(allowed)
	return allowed
}

func (n network) leaves(t *testing.T, from, to string, port intstr.IntOrString) bool {
	t.Helper()
	return n.passes(t, networkingv1.PolicyTypeEgress, from, to, port)
}

func (n network) enters(t *testing.T, from, to string, port intstr.IntOrString) bool {
	t.Helper()
	return n.passes(t, networkingv1.PolicyTypeIngress, to, from, port)
}

// passes tells whether the policies of a pod let it and another speak, in the direction as that pod sees it.
func (n network) passes(t *testing.T, direction networkingv1.PolicyType, pod, other string, port intstr.IntOrString) bool {
	t.Helper()
	restricted := false
	for _, policy := range n.policies {
		if !slices.Contains(policy.Spec.PolicyTypes, direction) || !n.governs(t, policy, pod) {
			continue
		}
		restricted = true
		for _, rule := range rules(policy, direction) {
			if admits(rule.Ports, port) && n.among(t, rule.To, other) {
				return true
			}
		}
	}
	return !restricted
}

// rules of a policy in one direction, written as those of the other where they come in: To is whom the pod may speak with.
func rules(policy networkingv1.NetworkPolicy, direction networkingv1.PolicyType) []networkingv1.NetworkPolicyEgressRule {
	if direction == networkingv1.PolicyTypeEgress {
		return policy.Spec.Egress
	}
	var incoming []networkingv1.NetworkPolicyEgressRule
	for _, rule := range policy.Spec.Ingress {
		incoming = append(incoming, networkingv1.NetworkPolicyEgressRule{Ports: rule.Ports, To: rule.From})
	}
	return incoming
}

func (n network) governs(t *testing.T, policy networkingv1.NetworkPolicy, name string) bool {
	t.Helper()
	return n.ends[name].namespace == namespace && selects(t, &policy.Spec.PodSelector, n.ends[name].labels)
}

func admits(ports []networkingv1.NetworkPolicyPort, port intstr.IntOrString) bool {
	return len(ports) == 0 || slices.ContainsFunc(ports, func(p networkingv1.NetworkPolicyPort) bool {
		return *p.Port == port && *p.Protocol == corev1.ProtocolTCP
	})
}

// among tells whether one of the peers, of which none means all, is the end.
func (n network) among(t *testing.T, peers []networkingv1.NetworkPolicyPeer, name string) bool {
	t.Helper()
	end := n.ends[name]
	return len(peers) == 0 || slices.ContainsFunc(peers, func(peer networkingv1.NetworkPolicyPeer) bool {
		if peer.IPBlock != nil {
			return false // pods are never behind one
		}
		if peer.NamespaceSelector == nil && end.namespace != namespace {
			return false
		}
		if peer.NamespaceSelector != nil && !selects(t, peer.NamespaceSelector, map[string]string{corev1.LabelMetadataName: end.namespace}) {
			return false
		}
		return peer.PodSelector == nil || selects(t, peer.PodSelector, end.labels)
	})
}

func TestPartsReachWhatTheyNeedAndNothingElse(t *testing.T) {
	n := networkOf(t, render(t, "{routing: {mode: random}, client: {enabled: true}}"))
	assert.Equal(t, []string{
		"client to comment", "client to reader", "client to reports",
		"comment to redis", "comment to reports", "comment to statistics",
		"edge to comment", "edge to reader",
		"neighbour to comment", "neighbour to reader",
		"prometheus to comment", "prometheus to reader",
		"reader to redis", "reader to reports",
		"statistics to redis",
		"test to comment", "test to reader",
	}, n.connections(t, "comment", "reader", "statistics", "reports", "client", "redis"))
	// Each side for itself, as if the other had no policy.
	assert.Equal(t, []string{
		"client to comment", "client to reader", "client to reports",
		"comment to redis", "comment to reports", "comment to statistics",
		"reader to redis", "reader to reports",
		"statistics to redis",
		"test to comment", "test to reader",
	}, n.pairs([]string{"comment", "reader", "statistics", "reports", "client", "redis"}, func(from, to string, port intstr.IntOrString) bool {
		return n.ends[from].labels[component] != "" && n.leaves(t, from, to, port)
	}))
	assert.Equal(t, []string{
		"client to reports", "comment to redis", "comment to reports", "comment to statistics", "reader to redis", "reader to reports",
		"statistics to redis",
	}, n.pairs([]string{"statistics", "reports", "client", "redis"}, func(from, to string, port intstr.IntOrString) bool {
		return n.enters(t, from, to, port)
	}))
	assert.Equal(t, []string{"neighbour to edge", "prometheus to edge"}, n.connections(t, "edge"), "nothing of it reaches out")
}

func TestBehindTheGatewayIsOnlyTheGateway(t *testing.T) {
	n := networkOf(t, render(t, "{client: {enabled: true}, gateway: {statistics: true}}"))
	assert.Equal(t, []string{
		"client to gateway", "client to reports",
		"comment to redis", "comment to reports", "comment to statistics",
		"edge to gateway",
		"gateway to comment", "gateway to reader", "gateway to statistics",
		"neighbour to gateway",
		"prometheus to gateway",
		"reader to redis", "reader to reports",
		"statistics to redis",
		"test to comment", "test to gateway", "test to reader",
	}, n.connections(t, "comment", "reader", "statistics", "reports", "client", "redis", "gateway", "gateway metrics"))
	// Each side for itself, as if the other had no policy.
	assert.Equal(t, []string{
		"client to gateway", "client to reports",
		"comment to redis", "comment to reports", "comment to statistics",
		"gateway to comment", "gateway to reader", "gateway to statistics",
		"reader to redis", "reader to reports",
		"statistics to redis",
		"test to comment", "test to gateway", "test to reader",
	}, n.pairs([]string{"comment", "reader", "statistics", "reports", "client", "redis", "gateway", "gateway metrics"}, func(from, to string, port intstr.IntOrString) bool {
		return n.ends[from].labels[component] != "" && n.leaves(t, from, to, port)
	}))
	// Readers look for each other.
	assert.True(t, n.leaves(t, "reader", "reader", intstr.FromInt32(4000)))
	assert.True(t, n.enters(t, "reader", "reader", intstr.FromInt32(4000)))

	private := networkOf(t, render(t, "{client: {enabled: true}, gateway: {statistics: false}}"))
	assert.False(t, private.leaves(t, "gateway", "statistics", intstr.FromInt32(5000)))
	assert.False(t, private.enters(t, "gateway", "statistics", intstr.FromInt32(5000)))
}

func TestViewersWhoAreSentOnCanGoThere(t *testing.T) {
	for _, test := range []struct {
		values string
		port   int32
	}{
		{hostPorts, 4000},
		{secured, 8443},
		{redirectTo("https://$(NODE_NAME).live.example.org") + "\nclient: {enabled: true}", 443},
		{redirectTo("HTTP://$(NODE_NAME).live.example.org/a:5000?b=c:80") + "\nclient: {enabled: true}", 80},
		{redirectTo("http://[$(POD_IP)]:4001") + "\nclient: {enabled: true}", 4001},
	} {
		n := networkOf(t, render(t, test.values))
		for _, viewers := range []string{"client", "test", "reader"} {
			assert.True(t, n.leaves(t, viewers, "edge", intstr.FromInt32(test.port)), "%s with %s", viewers, test.values)
			assert.False(t, n.leaves(t, viewers, "edge", intstr.FromInt32(test.port+1)), "%s with %s", viewers, test.values)
			assert.True(t, n.leaves(t, viewers, "reader", intstr.FromInt32(4000)), "%s with %s", viewers, test.values)
		}
		assert.False(t, n.leaves(t, "comment", "edge", intstr.FromInt32(test.port)))
		assert.True(t, n.enters(t, "edge", "reader", intstr.FromInt32(4000)))
		assert.True(t, n.enters(t, "reader", "reader", intstr.FromInt32(4000)))
	}
	alone := networkOf(t, render(t, random))
	assert.False(t, alone.leaves(t, "reader", "reader", intstr.FromInt32(4000)), "nobody is sent anywhere")
}

func TestWhoMayComeInCanBeChosen(t *testing.T) {
	peer := func(namespace string) string {
		return "[{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: " + namespace + "}}}]"
	}
	others := func(values, target string) []string {
		var from []string
		n := networkOf(t, render(t, values))
		for _, name := range []string{"edge", "neighbour", "prometheus"} {
			if slices.Contains(n.connections(t, target), name+" to "+target) {
				from = append(from, name)
			}
		}
		return from
	}
	behind := "networkPolicy: {gatewayFrom: " + peer("edge") + ", monitoringFrom: " + peer("monitoring") + "}"
	both := "routing: {mode: random}\nnetworkPolicy: {commentFrom: " + peer("edge") + ", readerFrom: " + peer("edge") + "}"
	for _, test := range []struct {
		values, target string
		from           []string
	}{
		{both, "comment", []string{"edge"}},
		{both, "reader", []string{"edge"}},
		{both + "\nmonitoring: {serviceMonitor: {enabled: true}}", "reader", []string{"edge", "neighbour", "prometheus"}},
		{"networkPolicy: {readerFrom: " + peer("edge") + ", monitoringFrom: " + peer("monitoring") + "}", "reader", []string{"edge", "prometheus"}},
		{"networkPolicy: {readerFrom: " + peer("edge") + "}", "comment", nil},
		{behind, "comment", []string{"prometheus"}},
		{behind, "reader", []string{"prometheus"}},
		{behind, "gateway", []string{"edge"}},
		{behind, "gateway metrics", []string{"prometheus"}},
		{"monitoring: {serviceMonitor: {enabled: true}}", "gateway metrics", []string{"edge", "neighbour", "prometheus"}},
		{"", "statistics", nil},
		{publicPages, "statistics", []string{"edge", "neighbour", "prometheus"}},
		{publicPages + "\nnetworkPolicy: {statisticsFrom: " + peer("edge") + "}", "statistics", []string{"edge"}},
		{"networkPolicy: {statisticsFrom: " + peer("edge") + "}", "statistics", []string{"edge"}},
		{"networkPolicy: {monitoringFrom: " + peer("monitoring") + "}", "statistics", []string{"prometheus"}},
		{"monitoring: {serviceMonitor: {enabled: true}}", "statistics", []string{"edge", "neighbour", "prometheus"}},
		{"networkPolicy: {statisticsFrom: " + peer("edge") + ", monitoringFrom: " + peer("monitoring") + "}", "reports", nil},
		{"networkPolicy: {monitoringFrom: " + peer("monitoring") + "}\nclient: {enabled: true}", "client", []string{"prometheus"}},
		{"networkPolicy: {monitoringFrom: " + peer("monitoring") + "}\nmonitoring: {serviceMonitor: {enabled: true}}", "redis", nil},
	} {
		assert.Equal(t, test.from, others(test.values, test.target), "to %s with %s", test.target, test.values)
	}
}

func TestEveryPodHasPolicies(t *testing.T) {
	for set, values := range valueSets {
		n := networkOf(t, render(t, values))
		if set == "no network policies, no accounts, no budgets" {
			assert.Empty(t, n.policies)
			continue
		}
		for name, end := range n.ends {
			if end.namespace != namespace || name == "neighbour" {
				continue
			}
			assert.False(t, n.leaves(t, name, "edge", intstr.FromInt32(443)), "%s with %s", name, set)
			assert.Equal(t, name == "test", n.enters(t, "edge", name, intstr.FromInt32(443)), "%s with %s", name, set)
		}
		for name, policy := range n.policies {
			governed := 0
			for pod := range n.ends {
				if n.governs(t, policy, pod) {
					governed++
				}
			}
			assert.LessOrEqual(t, governed, 1, "%s with %s", name, set)
		}
	}
}

func TestARedisElsewhereIsReachedAtItsPort(t *testing.T) {
	n := networkOf(t, render(t, externalURL))
	for _, name := range []string{"livecomments-from-comment", "livecomments-from-reader", "livecomments-from-statistics"} {
		egress := n.policies[name].Spec.Egress
		rule := egress[len(egress)-1]
		assert.Equal(t, 6380, rule.Ports[0].Port.IntValue())
		assert.Equal(t, []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "10.1.0.0/16"}}}, rule.To)
	}
	byURL := networkOf(t, render(t, "{redis: {enabled: false}, externalRedis: {url: 'redis://redis.example.org:7000/1'}}"))
	assert.True(t, byURL.leaves(t, "reader", "edge", intstr.FromInt32(7000)), "the URL says it")
	assert.False(t, byURL.leaves(t, "reader", "edge", intstr.FromInt32(6379)))
	anywhere := networkOf(t, render(t, externalSecret))
	assert.True(t, anywhere.leaves(t, "reader", "edge", intstr.FromInt32(6379)))
	assert.True(t, anywhere.leaves(t, "statistics", "edge", intstr.FromInt32(6379)))
	assert.False(t, anywhere.leaves(t, "test", "edge", intstr.FromInt32(6379)))
}

// httpRoute is what the tests look at in one.
type httpRoute struct {
	Spec struct {
		Hostnames  []string
		ParentRefs []struct{ Name, Namespace, SectionName string }
		Rules      []struct {
			Matches     []struct{ Path struct{ Type, Value string } }
			BackendRefs []struct {
				Name string
				Port int32
			}
			Timeouts struct{ Request string }
		}
	}
}

func TestOnlyPostingAndWatchingIsRouted(t *testing.T) {
	rendered := render(t, everything)
	services := all[corev1.Service](t, rendered, "Service")

	ingress := one[networkingv1.Ingress](t, rendered, "Ingress", "livecomments").Spec
	assert.Equal(t, "traefik", *ingress.IngressClassName)
	assert.Equal(t, []networkingv1.IngressTLS{{Hosts: []string{"live.example.org"}, SecretName: "live-tls"}}, ingress.TLS)
	require.Len(t, ingress.Rules, 2)
	for _, rule := range ingress.Rules {
		routes := map[string]string{}
		for _, path := range rule.HTTP.Paths {
			assert.Equal(t, networkingv1.PathTypeExact, *path.PathType)
			routes[path.Path] = path.Backend.Service.Name
			assert.Equal(t, services[path.Backend.Service.Name].Spec.Ports[0].Name, path.Backend.Service.Port.Name)
		}
		assert.Equal(t, map[string]string{"/comment": "livecomments-comment", "/connect": "livecomments-reader"}, routes)
	}

	route := one[httpRoute](t, rendered, "HTTPRoute", "livecomments").Spec
	assert.Equal(t, []string{"live.example.org"}, route.Hostnames)
	assert.Equal(t, "gateway/public", route.ParentRefs[0].Namespace+"/"+route.ParentRefs[0].Name)
	routes := map[string]string{}
	for _, rule := range route.Rules {
		assert.Equal(t, "Exact", rule.Matches[0].Path.Type)
		routes[rule.Matches[0].Path.Value] = rule.BackendRefs[0].Name
		assert.Equal(t, services[rule.BackendRefs[0].Name].Spec.Ports[0].Port, rule.BackendRefs[0].Port)
		if rule.Matches[0].Path.Value == "/connect" {
			assert.Equal(t, "0s", rule.Timeouts.Request, "a stream lives as long as the reader says")
		}
	}
	assert.Equal(t, map[string]string{"/comment": "livecomments-comment", "/connect": "livecomments-reader"}, routes)

	for name, service := range all[corev1.Service](t, render(t, ""), "Service") {
		assert.Contains(t, []corev1.ServiceType{"", corev1.ServiceTypeClusterIP}, service.Spec.Type, "%s is not for outside", name)
	}
}
