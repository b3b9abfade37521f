package chart_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// kubernetesVersions are those whose APIs the manifests must fit: the oldest that the chart admits, and newer ones.
var kubernetesVersions = []string{"v1.30.14", "v1.34.4", "v1.36.3", "v1.37.2"}

// specifications are what Kubernetes publishes of the group versions that the chart uses.
var specifications = []string{"api__v1", "apis__apps__v1", "apis__autoscaling__v2", "apis__networking.k8s.io__v1", "apis__policy__v1"}

// definition is a file with a CustomResourceDefinition in a module, and the kind that is wanted where it has several.
type definition struct{ module, version, file, kind string }

// definitions are those of the custom resources that the chart can make.
var definitions = []definition{
	{"github.com/prometheus-operator/prometheus-operator", "v0.85.0", "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml", ""},
	{"github.com/prometheus-operator/prometheus-operator", "v0.85.0", "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml", ""},
	{"github.com/kedacore/keda/v2", "v2.21.0", "config/crd/bases/keda.sh_scaledobjects.yaml", ""},
	{"sigs.k8s.io/gateway-api", "v1.6.0", "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml", ""},
}

// api is what a version of Kubernetes takes: the schema of every kind, in which unknown fields are errors.
type api struct {
	compiler *jsonschema.Compiler
	places   map[schema.GroupVersionKind]string
	custom   map[string]bool
	compiled map[schema.GroupVersionKind]*jsonschema.Schema
}

func newAPI(t *testing.T, version string) *api {
	t.Helper()
	a := &api{jsonschema.NewCompiler(), map[schema.GroupVersionKind]string{}, map[string]bool{}, map[schema.GroupVersionKind]*jsonschema.Schema{}}
	// OpenAPI 3.0 extends the drafts of its time.
	a.compiler.DefaultDraft(jsonschema.Draft4)
	published := module(t, "k8s.io/kubernetes", version)
	for _, name := range specifications {
		text, err := os.ReadFile(filepath.Join(published, "api/openapi-spec/v3", name+"_openapi.json"))
		require.NoError(t, err)
		specification, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		require.NoError(t, err)
		schemas, found, err := unstructured.NestedFieldNoCopy(specification.(map[string]any), "components", "schemas")
		require.NoError(t, err)
		require.True(t, found, name)
		a.add(t, name, schemas.(map[string]any))
	}
	for _, definition := range definitions {
		a.take(t, definition)
	}
	return a
}

// take takes in what a module defines.
func (a *api) take(t *testing.T, d definition) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(module(t, d.module, d.version), d.file))
	require.NoError(t, err)
	if d.kind == "" {
		a.define(t, text)
		return
	}
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		if strings.Contains(document, "\n    kind: "+d.kind+"\n") {
			a.define(t, []byte(document))
			return
		}
	}
	require.Fail(t, "there is no "+d.kind, d.file)
}

// add takes the schemas of a group version in.
func (a *api) add(t *testing.T, name string, schemas map[string]any) {
	t.Helper()
	location := "mem:///" + name
	for key, content := range schemas {
		strict(content)
		kinds, _ := content.(map[string]any)["x-kubernetes-group-version-kind"].([]any)
		for _, kind := range kinds {
			k := kind.(map[string]any)
			gvk := schema.GroupVersionKind{Group: k["group"].(string), Version: k["version"].(string), Kind: k["kind"].(string)}
			a.places[gvk] = location + "#/components/schemas/" + key
		}
	}
	require.NoError(t, a.compiler.AddResource(location, map[string]any{"components": map[string]any{"schemas": schemas}}))
}

// define takes a CustomResourceDefinition in.
func (a *api) define(t *testing.T, text []byte) {
	t.Helper()
	var definition struct {
		Spec struct {
			Group    string
			Names    struct{ Kind string }
			Versions []struct {
				Name   string
				Schema struct{ OpenAPIV3Schema map[string]any }
			}
		}
	}
	require.NoError(t, yaml.Unmarshal(text, &definition))
	spec := definition.Spec
	a.custom[spec.Group] = true
	for _, version := range spec.Versions {
		content := version.Schema.OpenAPIV3Schema
		// A definition leaves the metadata to the API server, and these two may be left out of it.
		properties := content["properties"].(map[string]any)
		properties["apiVersion"], properties["kind"] = map[string]any{"type": "string"}, map[string]any{"type": "string"}
		properties["metadata"] = map[string]any{
			"$ref": "mem:///api__v1#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
		}
		content["x-kubernetes-group-version-kind"] = []any{map[string]any{"group": spec.Group, "version": version.Name, "kind": spec.Names.Kind}}
		a.add(t, spec.Group+"__"+version.Name+"__"+spec.Names.Kind, map[string]any{spec.Names.Kind: content})
	}
}

// refusal is why the API server would not take the object, as `kubectl apply --validate=strict` says it.
func (a *api) refusal(object unstructured.Unstructured) error {
	gvk := object.GroupVersionKind()
	if a.compiled[gvk] == nil {
		place, known := a.places[gvk]
		if !known {
			return fmt.Errorf("there is no %s", gvk)
		}
		compiled, err := a.compiler.Compile(place)
		if err != nil {
			return err
		}
		a.compiled[gvk] = compiled
	}
	content := object.Object
	if !a.custom[gvk.Group] {
		content = withoutNulls(content).(map[string]any)
	}
	if err := a.compiled[gvk].Validate(content); err != nil {
		return fmt.Errorf("%s %s: %w", gvk.Kind, object.GetName(), err)
	}
	return nil
}

// withoutNulls leaves out what is null: among Kubernetes' own types that is the same as being absent.
func withoutNulls(content any) any {
	switch content := content.(type) {
	case map[string]any:
		kept := map[string]any{}
		for key, value := range content {
			if value != nil {
				kept[key] = withoutNulls(value)
			}
		}
		return kept
	case []any:
		kept := make([]any, len(content))
		for i, value := range content {
			kept[i] = withoutNulls(value)
		}
		return kept
	default:
		return content
	}
}

// strict makes unknown fields errors. What stands in anyOf and its like only adds conditions to fields that are known.
func strict(content any) {
	s, isSchema := content.(map[string]any)
	if !isSchema {
		return
	}
	properties, closed := s["properties"].(map[string]any)
	if _, open := s["additionalProperties"]; closed && !open && s["x-kubernetes-preserve-unknown-fields"] != true {
		s["additionalProperties"] = false
	}
	for _, property := range properties {
		strict(property)
	}
	strict(s["items"])
	strict(s["additionalProperties"])
}

// module is the directory of a Go module, which is downloaded unless it is there. Kubernetes and the others publish their
// APIs' schemas in their modules.
func module(t *testing.T, path, version string) string {
	t.Helper()
	download := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", path+"@"+version)
	// Outside of this module: nothing of it is built.
	download.Dir = t.TempDir()
	download.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	var complaints bytes.Buffer
	download.Stderr = &complaints
	output, err := download.Output()
	require.NoError(t, err, "%s%s", output, &complaints)
	var downloaded struct{ Dir string }
	require.NoError(t, json.Unmarshal(output, &downloaded))
	return downloaded.Dir
}
