package chart_test

import (
	"cmp"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	podsecurity "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"k8s.io/utils/ptr"
)

func TestTheNumberOfPodsIsTheChartsUnlessAnAutoscalerOrAHandHasIt(t *testing.T) {
	for _, test := range []struct {
		values          string
		comment, reader *int32
		autoscalers     []string
		budgets         []string
	}{
		{"", ptr.To[int32](2), nil, []string{"livecomments-reader"}, []string{"livecomments-comment", "livecomments-gateway", "livecomments-reader"}},
		{"comment: {autoscaling: {enabled: true}}", nil, nil, []string{"livecomments-comment", "livecomments-reader"}, []string{"livecomments-comment", "livecomments-gateway", "livecomments-reader"}},
		{"reader: {autoscaling: {enabled: false}}", ptr.To[int32](2), ptr.To[int32](3), nil, []string{"livecomments-comment", "livecomments-gateway", "livecomments-reader"}},
		{byHand, nil, nil, nil, []string{"livecomments-comment", "livecomments-gateway", "livecomments-reader"}},
		{"{comment: {replicas: 1}, reader: {replicas: 1, autoscaling: {enabled: false}}}", ptr.To[int32](1), ptr.To[int32](1), nil, []string{"livecomments-gateway"}},
		{"{comment: {replicas: 0}, reader: {replicas: 0, autoscaling: {enabled: false}}}", ptr.To[int32](0), ptr.To[int32](0), nil, []string{"livecomments-gateway"}},
		{"{comment: {replicas: 5}, reader: {replicas: 5, autoscaling: {minReplicas: 1}}}", ptr.To[int32](5), nil, []string{"livecomments-reader"}, []string{"livecomments-comment", "livecomments-gateway", "livecomments-reader"}},
		{"{reader: {autoscaling: {minReplicas: 1, maxReplicas: 1}}}", ptr.To[int32](2), nil, []string{"livecomments-reader"}, []string{"livecomments-comment", "livecomments-gateway"}},
		{"{comment: {pdb: {enabled: false}}, reader: {pdb: {enabled: false}}, gateway: {pdb: {enabled: false}}}", ptr.To[int32](2), nil, []string{"livecomments-reader"}, nil},
	} {
		t.Run(test.values, func(t *testing.T) {
			rendered := render(t, test.values)
			assert.Equal(t, test.comment, one[appsv1.Deployment](t, rendered, "Deployment", "livecomments-comment").Spec.Replicas)
			assert.Equal(t, test.reader, one[appsv1.Deployment](t, rendered, "Deployment", "livecomments-reader").Spec.Replicas)
			assert.Equal(t, test.autoscalers, rendered.names("HorizontalPodAutoscaler"))
			assert.Equal(t, test.budgets, rendered.names("PodDisruptionBudget"))
		})
	}
}

func TestAPartOfAnotherChartCanLeaveToTheClusterWhatIsTheClusters(t *testing.T) {
	// Helm gives the chart's own values for null there.
	parsed, err := chartutil.ReadValues([]byte(`
livecomments:
  runAsUser: ""
  redis: {runAsUser: ""}
  gateway: {runAsUser: "", replicas: ""}
  comment: {replicas: ""}
  reader: {replicas: "", autoscaling: {enabled: false}}
  client: {enabled: true, replicas: ""}
  httpRoute: {enabled: true, parentRefs: [{name: public}], timeouts: {request: ""}}`))
	require.NoError(t, err)
	parent := &chart.Chart{
		Metadata: &chart.Metadata{APIVersion: chart.APIVersionV2, Name: "shop", Version: "1.0.0", Dependencies: []*chart.Dependency{{Name: "livecomments", Version: "*"}}},
		Values:   parsed,
	}
	parent.AddDependency(load(t))
	rendered, err := install(parent, "")
	require.NoError(t, err)
	for name, pod := range rendered.pods(t) {
		assert.Nil(t, pod.Spec.SecurityContext.RunAsUser, name)
		assert.Nil(t, pod.Spec.SecurityContext.FSGroup, name)
	}
	for _, name := range []string{"comment", "reader", "client", "gateway"} {
		assert.Nil(t, one[appsv1.Deployment](t, rendered, "Deployment", "livecomments-"+name).Spec.Replicas, name)
	}
	assert.Contains(t, rendered.names("PodDisruptionBudget"), "livecomments-reader", "there can be several")
	for _, rule := range one[struct {
		Spec struct{ Rules []map[string]any }
	}](t, rendered, "HTTPRoute", "livecomments").Spec.Rules {
		assert.NotContains(t, rule, "timeouts")
	}
}

func TestReadersScaleByCPUByConnectionsOrByBoth(t *testing.T) {
	scaler := func(values string) autoscalingv2.HorizontalPodAutoscalerSpec {
		return one[autoscalingv2.HorizontalPodAutoscaler](t, render(t, values), "HorizontalPodAutoscaler", "livecomments-reader").Spec
	}
	cpu := scaler("")
	assert.Equal(t, autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "livecomments-reader"}, cpu.ScaleTargetRef)
	require.Len(t, cpu.Metrics, 1)
	assert.EqualValues(t, 70, *cpu.Metrics[0].Resource.Target.AverageUtilization)
	// One pod at a time, after ten quiet minutes; out at once.
	assert.EqualValues(t, 600, *cpu.Behavior.ScaleDown.StabilizationWindowSeconds)
	assert.Equal(t, []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PodsScalingPolicy, Value: 1, PeriodSeconds: 300}}, cpu.Behavior.ScaleDown.Policies)
	assert.Zero(t, *cpu.Behavior.ScaleUp.StabilizationWindowSeconds)

	both := scaler("reader: {autoscaling: {connections: {enabled: true, averageValue: 1000000}}, maxConnections: 1000000}")
	require.Len(t, both.Metrics, 2)
	assert.Equal(t, "livecomments_reader_connections", both.Metrics[1].Pods.Metric.Name)
	assert.EqualValues(t, 1000000, both.Metrics[1].Pods.Target.AverageValue.Value())

	alone := scaler("reader: {autoscaling: {cpu: {enabled: false}, connections: {enabled: true}}}")
	require.Len(t, alone.Metrics, 1)
	assert.Equal(t, autoscalingv2.PodsMetricSourceType, alone.Metrics[0].Type)
}

func TestKEDATakesThePlaceOfTheChartsOwnAutoscaler(t *testing.T) {
	rendered := render(t, keda)
	assert.Empty(t, rendered.names("HorizontalPodAutoscaler"))
	scaled := one[struct {
		Spec struct {
			ScaleTargetRef struct{ Kind, Name string }
			Triggers       []struct {
				Type     string
				Metadata map[string]string
			}
		}
	}](t, rendered, "ScaledObject", "livecomments-reader").Spec
	assert.Equal(t, "Deployment/livecomments-reader", scaled.ScaleTargetRef.Kind+"/"+scaled.ScaleTargetRef.Name)
	require.Len(t, scaled.Triggers, 2)
	assert.Equal(t, "70", scaled.Triggers[0].Metadata["value"])
	assert.Equal(t, "6000", scaled.Triggers[1].Metadata["threshold"])
	assert.Equal(t, `sum(livecomments_reader_connections{namespace="videos",service="livecomments-reader"})`, scaled.Triggers[1].Metadata["query"])
	assert.Nil(t, one[appsv1.Deployment](t, rendered, "Deployment", "livecomments-reader").Spec.Replicas)
}

func TestEveryPodMayRunWherePodSecurityIsRestricted(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	require.NoError(t, err)
	restricted := podsecurity.LevelVersion{Level: podsecurity.LevelRestricted, Version: podsecurity.LatestVersion()}
	for set, values := range valueSets {
		for name, pod := range render(t, values).pods(t) {
			if set == "viewers are sent to a port of the reader's node" && name == "reader" {
				continue // TestAReaderHasAPortOfItsNodeAndAllElseIsRestricted
			}
			result := policy.AggregateCheckResults(evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec))
			assert.True(t, result.Allowed, "%s with %s: %s", name, set, result.ForbiddenDetail())
		}
	}

	pod := render(t, "").pods(t)["reader"]
	pod.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = nil
	assert.False(t, policy.AggregateCheckResults(evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec)).Allowed)
}

func TestEveryPodIsAsClosedAsItCanBe(t *testing.T) {
	for set, values := range valueSets {
		for name, pod := range render(t, values).pods(t) {
			t.Run(set+": "+name, func(t *testing.T) {
				assert.Equal(t, ptr.To(false), pod.Spec.AutomountServiceAccountToken)
				assert.Equal(t, ptr.To(false), pod.Spec.EnableServiceLinks)
				assert.NotContains(t, []*int64{nil, ptr.To[int64](0)}, pod.Spec.SecurityContext.RunAsUser)
				for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
					assert.Equal(t, ptr.To(true), container.SecurityContext.ReadOnlyRootFilesystem)
				}
			})
		}
	}
	accounts := all[corev1.ServiceAccount](t, render(t, ""), "ServiceAccount")
	assert.Equal(t, ptr.To(false), accounts["livecomments"].AutomountServiceAccountToken)
}

func TestAPodHasTheTimeThatItNeedsToStop(t *testing.T) {
	for _, values := range []string{
		"client: {enabled: true}",
		"{comment: {drain: {preStopSeconds: 60, timeoutSeconds: 90}}, reader: {drain: {preStopSeconds: 120, periodSeconds: 600, timeoutSeconds: 900}}}",
		"{comment: {drain: {preStopSeconds: 0}}, reader: {drain: {preStopSeconds: 0}}}",
	} {
		pods := render(t, values).pods(t)
		for _, name := range []string{"comment", "reader", "statistics", "client"} {
			pod, runs := pods[name]
			if !runs {
				continue
			}
			needed, err := time.ParseDuration(cmp.Or(env(t, pod)["STOP_TIMEOUT"].Value, "30s"))
			require.NoError(t, err)
			if hook := pod.Spec.Containers[0].Lifecycle; hook != nil {
				assert.Positive(t, hook.PreStop.Sleep.Seconds, "a sleep of 0 is refused")
				needed += time.Duration(hook.PreStop.Sleep.Seconds) * time.Second
			}
			assert.GreaterOrEqual(t, time.Duration(*pod.Spec.TerminationGracePeriodSeconds)*time.Second, needed, "%s with %s", name, values)
		}
	}
}

func TestSelectorsHoldOnlyWhatNeverChanges(t *testing.T) {
	for set, made := range map[string]int{everything: 4 + 1 + 8 + 2, "client: {enabled: true}\ncommonLabels: {team: video}": 5 + 1 + 10 + 3} {
		selectorsHoldOnlyWhatNeverChanges(t, render(t, set), made)
	}
}

func selectorsHoldOnlyWhatNeverChanges(t *testing.T, rendered manifests, made int) {
	t.Helper()
	identity := []string{component, "app.kubernetes.io/instance", "app.kubernetes.io/name"}
	selectors := map[string]map[string]string{}
	for name, deployment := range all[appsv1.Deployment](t, rendered, "Deployment") {
		selectors["Deployment "+name] = deployment.Spec.Selector.MatchLabels
	}
	for name, set := range all[appsv1.StatefulSet](t, rendered, "StatefulSet") {
		selectors["StatefulSet "+name] = set.Spec.Selector.MatchLabels
		for _, claim := range set.Spec.VolumeClaimTemplates {
			assert.Equal(t, metav1.ObjectMeta{Name: "data"}, claim.ObjectMeta)
		}
	}
	for name, service := range all[corev1.Service](t, rendered, "Service") {
		selectors["Service "+name] = service.Spec.Selector
	}
	for name, budget := range all[policyv1.PodDisruptionBudget](t, rendered, "PodDisruptionBudget") {
		selectors["PodDisruptionBudget "+name] = budget.Spec.Selector.MatchLabels
	}
	require.Len(t, selectors, made)
	for what, selector := range selectors {
		assert.Equal(t, identity, sorted(selector), what)
		matched := 0
		for _, pod := range rendered.pods(t) {
			if selects(t, &metav1.LabelSelector{MatchLabels: selector}, pod.Labels) {
				matched++
			}
		}
		assert.Equal(t, 1, matched, "%s selects the pods of one component", what)
	}
	for name, pod := range rendered.pods(t) {
		assert.Equal(t, "video", pod.Labels["team"], name)
		if name != "test" {
			assert.NotContains(t, pod.Labels, "helm.sh/chart", "an upgrade of the chart alone would restart %s", name)
		}
	}
}

func TestPodsSpreadOverZonesAndNodesUnlessToldOtherwise(t *testing.T) {
	spread := func(values, name string) (keys []string) {
		pod := render(t, values).pods(t)[name]
		for _, constraint := range pod.Spec.TopologySpreadConstraints {
			keys = append(keys, constraint.TopologyKey)
			assert.True(t, selects(t, constraint.LabelSelector, pod.Labels))
		}
		return keys
	}
	assert.Equal(t, []string{"topology.kubernetes.io/zone", "kubernetes.io/hostname"}, spread("", "reader"))
	own := "comment: {topologySpreadConstraints: [{maxSkew: 1, topologyKey: rack, whenUnsatisfiable: DoNotSchedule, labelSelector: {}}]}"
	assert.Equal(t, []string{"rack"}, spread(own, "comment"))
}

// tables are those of docs/configuration.md, by service.
var tables = map[string][]string{
	"comment":    {"Every service", "Comment API, reader and client: where they report", "Comment API, reader and Statistics API: Redis", "Comment API"},
	"reader":     {"Every service", "Comment API, reader and client: where they report", "Comment API, reader and Statistics API: Redis", "Reader"},
	"statistics": {"Every service", "Comment API, reader and Statistics API: Redis", "Statistics API"},
	"client":     {"Every service", "Comment API, reader and client: where they report", "Client"},
	"test":       {"Every service", "Comment API, reader and client: where they report", "Client"},
}

// settings are the variables that a service has.
func settings(t *testing.T, service string) []string {
	t.Helper()
	page, err := os.ReadFile("../../../docs/configuration.md")
	require.NoError(t, err)
	var names []string
	for _, title := range tables[service] {
		_, after, found := strings.Cut(string(page), "\n**"+title+"**\n")
		require.True(t, found, title)
		table, _, _ := strings.Cut(after, "\n**")
		for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\|").FindAllStringSubmatch(table, -1) {
			names = append(names, row[1])
		}
	}
	return names
}

func TestEverySettingInThePodsIsOneThatTheServiceHas(t *testing.T) {
	given := map[string]map[string]bool{}
	for set, values := range valueSets {
		for name, pod := range render(t, values).pods(t) {
			if name == "redis" || name == "gateway" {
				continue
			}
			known := settings(t, name)
			if name == "reader" {
				known = append(known, "POD_IP", "HOST_IP", "NODE_NAME") // of which ADVERTISE_URL is made
			}
			if given[name] == nil {
				given[name] = map[string]bool{}
			}
			for variable := range env(t, pod) {
				assert.Contains(t, known, variable, "%s with %s", name, set)
				given[name][variable] = true
			}
			for _, argument := range pod.Spec.Containers[0].Args {
				flag, _, _ := strings.Cut(strings.TrimPrefix(argument, "--"), "=")
				assert.Contains(t, known, strings.ToUpper(strings.ReplaceAll(flag, "-", "_")), "%s with %s", name, set)
			}
		}
	}

	own := map[string][]string{"comment": {"BODY_LIMIT"}, "reader": {"BUFFER_FRAMES", "RETRY"}, "client": {"VIDEO_PREFIX"}}
	for service, variables := range given {
		if service == "test" {
			continue
		}
		// Ports and drains have values of their own.
		variables["PORT"] = true
		if service == "statistics" {
			variables["REPORT_PORT"] = true
		}
		if service == "comment" || service == "reader" {
			variables["DRAIN_DELAY"] = true
		}
		var twice []string
		for variable := range variables {
			if !slices.Contains(own[service], variable) {
				twice = append(twice, variable)
			}
		}
		_, err := install(load(t), fmt.Sprintf("%s: {env: {%s: x}}", service, strings.Join(twice, ": x, ")))
		for _, variable := range twice {
			require.ErrorContains(t, err, fmt.Sprintf("at '/%s/env/%s': false schema", service, variable), "it would be given twice")
		}
	}
}

func TestSettingsOfOnesOwnArriveAsTheyWereWritten(t *testing.T) {
	pod := render(t, `reader: {env: {BODY_LIMIT: 1048576, BUFFER_FRAMES: "5000", RETRY: 1.5s, BUFFER_AGE: 0.5, WRITE_TIMEOUT: true}}`).pods(t)["reader"]
	variables := env(t, pod)
	for name, value := range map[string]string{"BODY_LIMIT": "1048576", "BUFFER_FRAMES": "5000", "RETRY": "1.5s", "BUFFER_AGE": "0.5", "WRITE_TIMEOUT": "true"} {
		assert.Equal(t, value, variables[name].Value, name)
	}
	pod = render(t, `{reader: {maxConnections: 2000000}, history: {length: 100000}}`).pods(t)["reader"]
	assert.Equal(t, "2000000", env(t, pod)["MAX_CONNECTIONS"].Value)
	assert.Equal(t, "100000", env(t, pod)["HISTORY_LENGTH"].Value)
}

func TestTheImagesAreThoseOfTheRelease(t *testing.T) {
	images := func(values string) map[string]string {
		found := map[string]string{}
		for name, pod := range render(t, values).pods(t) {
			found[name] = pod.Spec.Containers[0].Image
		}
		return found
	}
	version := load(t).AppVersion()
	assert.Equal(t, map[string]string{
		"comment":    "ghcr.io/livecomments/livecomments/comment:" + version,
		"reader":     "ghcr.io/livecomments/livecomments/reader:" + version,
		"statistics": "ghcr.io/livecomments/livecomments/statistics:" + version,
		"test":       "ghcr.io/livecomments/livecomments/client:" + version,
		"redis":      "docker.io/library/redis:8.6.4",
		"gateway":    "docker.io/library/haproxy:3.2",
	}, images(""))
	assert.Equal(t, "example.org/live/reader:main", images("image: {repository: example.org/live, tag: main}")["reader"])
	assert.Equal(t, "client", images(valueSets["images from elsewhere"])["test"])
}

func TestEveryPartFindsTheOthers(t *testing.T) {
	ports := "{comment: {service: {port: 8000}}, reader: {service: {port: 8001}}, statistics: {service: {port: 8002}}, client: {enabled: true}}"
	for set, values := range map[string]string{"ports of one's own": ports, "everything": everything, "the defaults": ""} {
		rendered := render(t, values)
		services := all[corev1.Service](t, rendered, "Service")
		for name, pod := range rendered.pods(t) {
			for variable, value := range env(t, pod) {
				address := value.Value
				switch variable {
				case "REDIS_HOST":
					address = "redis://" + address
				case "STATISTICS_API_URL", "REPORT_URL", "COMMENT_API_URL", "READER_API_URLS":
				default:
					continue
				}
				if address == "" { // the test reports to nobody
					continue
				}
				parsed, err := url.Parse(address)
				require.NoError(t, err)
				require.Contains(t, services, parsed.Hostname(), "%s of %s with %s", variable, name, set)
				service := services[parsed.Hostname()]
				require.Len(t, service.Spec.Ports, 1)
				assert.Equal(t, parsed.Port(), fmt.Sprint(service.Spec.Ports[0].Port), "%s of %s with %s", variable, name, set)
				target := rendered.pods(t)[service.Labels[component]]
				var ports []string
				for _, port := range target.Spec.Containers[0].Ports {
					ports = append(ports, port.Name)
				}
				assert.Contains(t, ports, service.Spec.Ports[0].TargetPort.StrVal)
				assert.Equal(t, variable == "REPORT_URL", service.Spec.Ports[0].Name == "reports", "%s of %s with %s", variable, name, set)
			}
		}
	}
}

func TestReadersAndRedisHaveNamesForTheirPodsOwnAddresses(t *testing.T) {
	for set, values := range map[string]string{"the defaults": "", "everything": everything} {
		rendered := render(t, values)
		for name, component := range map[string]string{"livecomments-readers": "reader", "livecomments-redis-headless": "redis"} {
			service := one[corev1.Service](t, rendered, "Service", name).Spec
			assert.Equal(t, corev1.ClusterIPNone, service.ClusterIP, "%s with %s", name, set)
			assert.False(t, service.PublishNotReadyAddresses, "%s with %s", name, set)
			pod := rendered.pods(t)[component]
			assert.True(t, selects(t, &metav1.LabelSelector{MatchLabels: service.Selector}, pod.Labels), "%s with %s", name, set)
			require.Len(t, service.Ports, 1)
			port := pod.Spec.Containers[0].Ports[0]
			assert.Equal(t, port.Name, service.Ports[0].TargetPort.StrVal, "%s with %s", name, set)
			assert.Equal(t, port.ContainerPort, service.Ports[0].Port, "no proxy translates the port of %s with %s", name, set)
		}
		redis := one[appsv1.StatefulSet](t, rendered, "StatefulSet", "livecomments-redis")
		assert.Equal(t, "livecomments-redis-headless", redis.Spec.ServiceName, "which cannot be changed later")
	}
}

func TestNothingIsReferredToThatNobodyMakes(t *testing.T) {
	theirs := []string{"registry", "shared-redis", "redis-ca", "redis-client", "live-tls"}
	for set, values := range valueSets {
		rendered := render(t, values)
		secrets := append(rendered.names("Secret"), theirs...)
		for name, pod := range rendered.pods(t) {
			for _, variable := range pod.Spec.Containers[0].Env {
				if variable.ValueFrom != nil && variable.ValueFrom.SecretKeyRef != nil {
					assert.Contains(t, secrets, variable.ValueFrom.SecretKeyRef.Name, "%s with %s", name, set)
				}
			}
			for _, volume := range pod.Spec.Volumes {
				if volume.Secret != nil {
					assert.Contains(t, secrets, volume.Secret.SecretName, "%s with %s", name, set)
				}
				if volume.Projected != nil {
					for _, source := range volume.Projected.Sources {
						assert.Contains(t, secrets, source.Secret.Name, "%s with %s", name, set)
					}
				}
				if volume.ConfigMap != nil {
					assert.Contains(t, rendered.names("ConfigMap"), volume.ConfigMap.Name, "%s with %s", name, set)
				}
			}
			assert.Contains(t, append(rendered.names("ServiceAccount"), "default"), pod.Spec.ServiceAccountName, "%s with %s", name, set)
		}
	}
}
