// Package config reads a service's settings from environment variables (or the equal flags) into a struct
// whose tags are their only definition: `env` the variable, `default`, `help`, and `validate` the bounds.
package config

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/go-playground/validator/v10"
)

// Load fills target, a pointer to a struct, from the environment; args (flags of the same settings) come before it.
// Its error is one line that names the variable. With --help among args it prints the settings and ends the process.
func Load(name string, args []string, target any) error {
	parser, err := kong.New(target, kong.Name(name), kong.Description("Every setting is an environment variable; each has a flag too."))
	if err != nil {
		return err
	}
	if _, err := parser.Parse(args); err != nil {
		if found := fromVariable.FindStringSubmatch(err.Error()); found != nil {
			return Errorf("%s: %s", found[2], found[1])
		}
		return Errorf("%s", err)
	}
	return Validate(target)
}

// fromVariable takes apart what kong says of a variable, of which it names the flag first.
var fromVariable = regexp.MustCompile(`^--\S+: (.*) \(from envar (.*)\)$`)

// Error is a bad setting.
type Error struct{ reason string }

func (e *Error) Error() string { return e.reason }

// Errorf makes an Error. It should name the variable.
func Errorf(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

// Validate checks target against the bounds in its `validate` tags. Its error is one line that names the variable.
func Validate(target any) error {
	validate := validator.New(validator.WithRequiredStructEnabled())
	validate.RegisterTagNameFunc(func(field reflect.StructField) string { return field.Tag.Get("env") })
	err := validate.Struct(target)
	var broken validator.ValidationErrors
	if !errors.As(err, &broken) {
		return err
	}
	first := broken[0]
	return Errorf("%s=%v is out of bounds: %s", first.Field(), first.Value(), words(first.Tag(), first.Param()))
}

// words spells a validator's bound for an operator.
func words(tag, param string) string {
	switch tag {
	case "min":
		return "it must be at least " + param
	case "max":
		return "it must be at most " + param
	case "gt":
		return "it must be more than " + param
	case "oneof":
		return "it must be one of " + param
	case "http_url":
		return "it must be an http:// or https:// URL"
	}
	return strings.TrimSpace("it must be a valid " + tag + " " + param)
}

// Setting is one row of a configuration table.
type Setting struct{ Variable, Default, Help string }

// Settings lists what target, a pointer to a struct, can be configured by, in the order of its fields.
func Settings(target any) ([]Setting, error) {
	parser, err := kong.New(target)
	if err != nil {
		return nil, err
	}
	var settings []Setting
	for _, group := range parser.Model.AllFlags(false) {
		for _, flag := range group {
			if len(flag.Envs) > 0 {
				settings = append(settings, Setting{flag.Envs[0], flag.Default, flag.Help})
			}
		}
	}
	return settings, nil
}
