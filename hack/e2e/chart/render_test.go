package chart_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

const (
	chartDir  = "../../../charts/livecomments"
	release   = "livecomments"
	namespace = "videos"
	component = "app.kubernetes.io/component"
)

// manifests are what the chart makes of values, the test pod included.
type manifests struct {
	objects []unstructured.Unstructured
	notes   string
}

func load(t *testing.T) *chart.Chart {
	t.Helper()
	loaded, err := loader.Load(chartDir)
	require.NoError(t, err)
	return loaded
}

// renderings keeps what was made of values; nobody changes it.
var renderings sync.Map

// render does what `helm template` does with the values in a file.
func render(t *testing.T, values string) manifests {
	t.Helper()
	if kept, found := renderings.Load(values); found {
		return kept.(manifests)
	}
	made, err := install(load(t), values)
	require.NoError(t, err)
	renderings.Store(values, made)
	return made
}

func install(of *chart.Chart, values string, change ...func(*action.Install)) (manifests, error) {
	parsed, err := chartutil.ReadValues([]byte(values))
	if err != nil {
		return manifests{}, err
	}
	installation := action.NewInstall(&action.Configuration{Log: func(string, ...any) {}})
	installation.ReleaseName, installation.Namespace = release, namespace
	installation.DryRun, installation.ClientOnly = true, true
	if installation.KubeVersion, err = chartutil.ParseKubeVersion(kubernetesVersions[len(kubernetesVersions)-1]); err != nil {
		return manifests{}, err
	}
	for _, change := range change {
		change(installation)
	}
	made, err := installation.Run(of, parsed)
	if err != nil {
		return manifests{}, err
	}
	result := manifests{notes: made.Info.Notes}
	documents := []string{made.Manifest}
	for _, hook := range made.Hooks {
		documents = append(documents, hook.Manifest)
	}
	for _, documents := range documents {
		if err := result.add(documents); err != nil {
			return manifests{}, err
		}
	}
	return result, nil
}

func (m *manifests) add(documents string) error {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(documents)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var object map[string]any
		// Strict: a key that stands twice is an error.
		if err := yaml.UnmarshalStrict(document, &object); err != nil {
			return fmt.Errorf("%w in\n%s", err, document)
		}
		if object != nil {
			m.objects = append(m.objects, unstructured.Unstructured{Object: object})
		}
	}
}

func forKubernetes(t *testing.T, version string) func(*action.Install) {
	t.Helper()
	parsed, err := chartutil.ParseKubeVersion(version)
	require.NoError(t, err)
	return func(installation *action.Install) { installation.KubeVersion = parsed }
}

// names are those of a kind's objects, sorted.
func (m manifests) names(kind string) []string {
	var names []string
	for _, object := range m.objects {
		if object.GetKind() == kind {
			names = append(names, object.GetName())
		}
	}
	slices.Sort(names)
	return names
}

// all are the objects of a kind, by name.
func all[T any](t *testing.T, m manifests, kind string) map[string]T {
	t.Helper()
	found := map[string]T{}
	for _, object := range m.objects {
		if object.GetKind() == kind {
			found[object.GetName()] = typed[T](t, object.Object)
		}
	}
	return found
}

// one is the object of a kind and a name.
func one[T any](t *testing.T, m manifests, kind, name string) T {
	t.Helper()
	found := all[T](t, m, kind)
	require.Contains(t, found, name, kind)
	return found[name]
}

func typed[T any](t *testing.T, object map[string]any) T {
	t.Helper()
	var into T
	// Numbers as the API server would get them: whole ones are integers.
	text, err := yaml.Marshal(object)
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(text, &into))
	return into
}

// pods are the templates of all pods, by component.
func (m manifests) pods(t *testing.T) map[string]corev1.PodTemplateSpec {
	t.Helper()
	templates := map[string]corev1.PodTemplateSpec{}
	for _, object := range m.objects {
		var template corev1.PodTemplateSpec
		switch object.GetKind() {
		case "Pod":
			pod := typed[corev1.Pod](t, object.Object)
			template = corev1.PodTemplateSpec{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}
		case "Deployment", "StatefulSet":
			content, found, err := unstructured.NestedMap(object.Object, "spec", "template")
			require.NoError(t, err)
			require.True(t, found)
			template = typed[corev1.PodTemplateSpec](t, content)
		default:
			continue
		}
		templates[template.Labels[component]] = template
	}
	return templates
}

// env are the variables of a pod's only container.
func env(t *testing.T, template corev1.PodTemplateSpec) map[string]corev1.EnvVar {
	t.Helper()
	require.Len(t, template.Spec.Containers, 1)
	variables := map[string]corev1.EnvVar{}
	for _, variable := range template.Spec.Containers[0].Env {
		require.NotContains(t, variables, variable.Name, "it stands twice")
		variables[variable.Name] = variable
	}
	return variables
}

func sorted[V any](set map[string]V) []string { return slices.Sorted(maps.Keys(set)) }

func selects(t *testing.T, selector *metav1.LabelSelector, of map[string]string) bool {
	t.Helper()
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	require.NoError(t, err)
	return parsed.Matches(labels.Set(of))
}
