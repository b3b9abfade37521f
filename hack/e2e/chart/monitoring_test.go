package chart_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

type rule struct {
	Alert, Record, Expr, For string
	KeepFiringFor            string `json:"keep_firing_for"`
	Labels, Annotations      map[string]string
}

type group struct {
	Name     string
	Interval string
	Rules    []rule
}

// written are the rules as they stand in the file.
func written(t *testing.T) []group {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chartDir, "alerts/rules.yaml"))
	require.NoError(t, err)
	var rules struct{ Groups []group }
	require.NoError(t, yaml.UnmarshalStrict(text, &rules))
	require.NotEmpty(t, rules.Groups)
	return rules.Groups
}

func installed(t *testing.T, values string) []group {
	t.Helper()
	return one[struct{ Spec struct{ Groups []group } }](t, render(t, values), "PrometheusRule", "livecomments").Spec.Groups
}

func alerts(groups []group) map[string]rule {
	found := map[string]rule{}
	for _, group := range groups {
		for _, rule := range group.Rules {
			if rule.Alert != "" {
				found[rule.Alert] = rule
			}
		}
	}
	return found
}

func TestPrometheusScrapesEveryServiceOnce(t *testing.T) {
	rendered := render(t, everything)
	monitor := one[struct {
		metav1.ObjectMeta `json:"metadata"`
		Spec              struct {
			Selector  metav1.LabelSelector
			Endpoints []struct{ Port, Path, Interval string }
		}
	}](t, rendered, "ServiceMonitor", "livecomments")
	assert.Equal(t, "prometheus", monitor.Labels["release"])
	require.Len(t, monitor.Spec.Endpoints, 1)
	assert.Equal(t, "/metrics", monitor.Spec.Endpoints[0].Path)
	assert.Equal(t, "15s", monitor.Spec.Endpoints[0].Interval)

	scraped := map[string][]string{}
	services := all[corev1.Service](t, rendered, "Service")
	for _, name := range sorted(services) {
		if !selects(t, &monitor.Spec.Selector, services[name].Labels) || services[name].Spec.Ports[0].Name != monitor.Spec.Endpoints[0].Port {
			continue
		}
		for component, pod := range rendered.pods(t) {
			if selects(t, &metav1.LabelSelector{MatchLabels: services[name].Spec.Selector}, pod.Labels) {
				scraped[component] = append(scraped[component], name)
			}
		}
	}
	assert.Equal(t, map[string][]string{
		"client": {"livecomments-client"}, "comment": {"livecomments-comment"}, "reader": {"livecomments-reader"}, "statistics": {"livecomments-statistics"},
	}, scraped, "each pod once")
}

func TestReadersThatSpeakTLSAndTheGatewayAreScrapedInTheirOwnWays(t *testing.T) {
	type monitor struct {
		Spec struct {
			Selector  metav1.LabelSelector
			Endpoints []struct {
				Port, Path, Scheme string
				TLSConfig          struct{ InsecureSkipVerify bool }
			}
		}
	}
	for _, test := range []struct {
		values  string
		scraped []string // each once
	}{
		{"{client: {enabled: true}, monitoring: {serviceMonitor: {enabled: true}}}", []string{
			" livecomments-client/http", " livecomments-comment/http", " livecomments-gateway-metrics/metrics", " livecomments-reader/http",
			" livecomments-statistics/http",
		}},
		{secured, []string{
			" livecomments-client/http", " livecomments-comment/http", " livecomments-statistics/http", "https livecomments-reader/http",
		}},
	} {
		rendered := render(t, test.values)
		var scraped []string
		for _, monitor := range all[monitor](t, rendered, "ServiceMonitor") {
			require.Len(t, monitor.Spec.Endpoints, 1)
			endpoint := monitor.Spec.Endpoints[0]
			assert.Equal(t, endpoint.Scheme == "https", endpoint.TLSConfig.InsecureSkipVerify)
			for name, service := range all[corev1.Service](t, rendered, "Service") {
				if selects(t, &monitor.Spec.Selector, service.Labels) && service.Spec.Ports[0].Name == endpoint.Port {
					scraped = append(scraped, endpoint.Scheme+" "+name+"/"+endpoint.Port)
				}
			}
		}
		slices.Sort(scraped)
		assert.Equal(t, test.scraped, scraped, test.values)
	}
}

func TestAlertsAreThoseOfTheMode(t *testing.T) {
	of := func(mode string) []string {
		var names []string
		for _, group := range installed(t, mode+"\nmonitoring: {prometheusRule: {enabled: true}}") {
			names = append(names, strings.TrimPrefix(group.Name, "livecomments."))
		}
		return names
	}
	common := of(random)
	assert.Subset(t, common, []string{"availability", "delivery", "scaling"})
	assert.NotContains(t, common, "placement")
	assert.NotContains(t, common, "gateway")
	assert.ElementsMatch(t, append(slices.Clone(common), "placement"), of(redirectTo("http://$(HOST_IP)")))
	assert.ElementsMatch(t, append(slices.Clone(common), "placement", "gateway"), of(""))
}

func TestTheRulesAreThoseOfTheFileForThisNamespace(t *testing.T) {
	groups := installed(t, "monitoring: {prometheusRule: {enabled: true}}")
	metrics := regexp.MustCompile(`\b(?:haproxy|livecomments|process)_[a-z0-9_]+(?::[a-z0-9_]+)?(.)?`)
	for _, group := range groups {
		for i := range group.Rules {
			expr := &group.Rules[i].Expr
			for _, metric := range metrics.FindAllStringSubmatch(*expr, -1) {
				assert.Equal(t, "{", metric[1], "%s in %s is of every namespace", metric[0], *expr)
			}
			*expr = strings.NewReplacer(`{namespace="videos"}`, "", `namespace="videos", `, "").Replace(*expr)
		}
	}
	assert.Equal(t, written(t), groups)
}

func TestEveryAlertIsExplained(t *testing.T) {
	page, err := os.ReadFile("../../../docs/alerts.md")
	require.NoError(t, err)
	for name, rule := range alerts(written(t)) {
		assert.Contains(t, string(page), "\n## "+name+"\n")
		assert.Contains(t, string(page), "| ["+name+"](#"+strings.ToLower(name)+") | "+rule.Labels["severity"]+" |")
		assert.True(t, strings.HasSuffix(rule.Annotations["runbook_url"], "/docs/alerts.md#"+strings.ToLower(name)), name)
	}
}

func TestAlertsGetLabels(t *testing.T) {
	groups := installed(t, "monitoring: {prometheusRule: {enabled: true, alertLabels: {team: video, severity: page}}}")
	require.Len(t, alerts(groups), len(alerts(written(t))))
	for _, group := range groups {
		for _, rule := range group.Rules {
			if rule.Alert == "" {
				assert.NotContains(t, rule.Labels, "team", "%s is no alert", rule.Record)
				continue
			}
			assert.Equal(t, "video", rule.Labels["team"], rule.Alert)
			assert.Equal(t, "page", rule.Labels["severity"], rule.Alert)
		}
	}
}

func TestAlertsCanBeLeftOut(t *testing.T) {
	found := alerts(installed(t, "monitoring: {prometheusRule: {enabled: true, disabled: [LivecommentsNoReaders, LivecommentsRedisDown]}}"))
	assert.Len(t, found, len(alerts(written(t)))-2)
	assert.NotContains(t, found, "LivecommentsNoReaders")
	assert.NotContains(t, found, "LivecommentsRedisDown")

	// Even all of them: what is recorded stays, for the dashboard.
	values := "monitoring: {prometheusRule: {enabled: true, disabled: [" + strings.Join(sorted(alerts(written(t))), ", ") + "]}}"
	assert.Empty(t, alerts(installed(t, values)))
	server := newAPI(t, kubernetesVersions[0])
	for _, object := range render(t, values).objects {
		assert.NoError(t, server.refusal(object))
	}
}

func TestTheDashboardArrivesAsItIs(t *testing.T) {
	dashboard := one[corev1.ConfigMap](t, render(t, "monitoring: {dashboard: {enabled: true, annotations: {grafana_folder: Video}}}"), "ConfigMap", "livecomments-dashboard")
	assert.Equal(t, "1", dashboard.Labels["grafana_dashboard"])
	assert.Equal(t, "Video", dashboard.Annotations["grafana_folder"])
	text, err := os.ReadFile(filepath.Join(chartDir, "dashboards/livecomments.json"))
	require.NoError(t, err)
	assert.JSONEq(t, string(text), dashboard.Data["livecomments.json"])
	assert.True(t, json.Valid(text))
}

func TestNothingIsMadeForThoseWhoHaveNoOperator(t *testing.T) {
	rendered := render(t, "")
	for _, kind := range []string{"ServiceMonitor", "PrometheusRule", "ScaledObject", "HTTPRoute", "Ingress"} {
		assert.Empty(t, rendered.names(kind), kind)
	}
	assert.Equal(t, []string{"livecomments-gateway", "livecomments-redis"}, rendered.names("ConfigMap"))
}
