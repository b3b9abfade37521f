// Package release installs, upgrades, tests and removes the chart with Helm's own library, as the command line does. It is
// the one place that knows the library: version 3 is only maintained until its successor has taken over.
package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/cli"
	"helm.sh/helm/v3/pkg/cli/values"
	"helm.sh/helm/v3/pkg/getter"
	helm "helm.sh/helm/v3/pkg/release"
)

// Release is a release of the chart, installed or to be.
type Release struct {
	Name, Namespace string

	settings *cli.EnvSettings
	config   *action.Configuration
}

// New names a release in a namespace of the cluster that kubeconfig leads to.
func New(kubeconfig, namespace, name string) (*Release, error) {
	settings := cli.New()
	settings.KubeConfig = kubeconfig
	settings.SetNamespace(namespace)
	r := &Release{Name: name, Namespace: namespace, settings: settings, config: new(action.Configuration)}
	return r, r.config.Init(settings.RESTClientGetter(), namespace, "secret", func(string, ...any) {})
}

// Load reads a chart from a folder or an archive.
func Load(path string) (*chart.Chart, error) { return loader.Load(path) }

// Values are a release's, as on the command line: files, and settings like --set.
type Values struct{ Files, Set []string }

func (r *Release) merge(v Values) (map[string]any, error) {
	return (&values.Options{ValueFiles: v.Files, Values: v.Set}).MergeValues(getter.All(r.settings))
}

// Install installs the chart and waits until everything is ready.
func (r *Release) Install(ctx context.Context, c *chart.Chart, v Values, timeout time.Duration) error {
	merged, err := r.merge(v)
	if err != nil {
		return err
	}
	install := action.NewInstall(r.config)
	install.ReleaseName, install.Namespace = r.Name, r.Namespace
	install.Wait, install.Timeout = true, timeout
	_, err = install.RunWithContext(ctx, c, merged)
	return err
}

// Upgrade upgrades the release and waits until everything is ready.
func (r *Release) Upgrade(ctx context.Context, c *chart.Chart, v Values, timeout time.Duration) error {
	merged, err := r.merge(v)
	if err != nil {
		return err
	}
	upgrade := action.NewUpgrade(r.config)
	upgrade.Namespace = r.Namespace
	upgrade.Wait, upgrade.Timeout = true, timeout
	_, err = upgrade.RunWithContext(ctx, r.Name, c, merged)
	return err
}

// Test runs the chart's tests. Where one fails the error has the log of its pod.
func (r *Release) Test(timeout time.Duration) error {
	test := action.NewReleaseTesting(r.config)
	test.Namespace, test.Timeout = r.Namespace, timeout
	done, err := test.Run(r.Name)
	if err != nil {
		return errors.Join(err, errors.New(r.testLogs(test, done)))
	}
	ran := 0
	for _, hook := range done.Hooks {
		if hook.LastRun.Phase == helm.HookPhaseSucceeded {
			ran++
		}
	}
	if ran == 0 {
		return errors.New("the chart has no tests that ran")
	}
	return nil
}

func (r *Release) testLogs(test *action.ReleaseTesting, done *helm.Release) string {
	reader, writer := io.Pipe()
	go func() { _ = writer.CloseWithError(test.GetPodLogs(writer, done)) }()
	text, err := io.ReadAll(reader)
	return fmt.Sprintf("logs: %s %v", text, err)
}

// Uninstall removes the release.
func (r *Release) Uninstall(timeout time.Duration) error {
	uninstall := action.NewUninstall(r.config)
	uninstall.Wait, uninstall.Timeout = true, timeout
	_, err := uninstall.Run(r.Name)
	return err
}
