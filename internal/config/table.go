package config

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
)

// Variable is one environment variable, as people read of it.
type Variable struct {
	Name     string
	Default  string // empty where Absent says what holds
	Absent   string
	Unit     string // or the allowed range or values
	Doc      string
	Secret   bool
	Programs []string

	field  string // name of the Go field
	index  []int  // of the field within its program's struct
	min    string
	max    string
	values string
}

// table lists the variables of a program's struct, in the order of its fields.
func table(program string, of reflect.Type) []Variable {
	var out []Variable
	for _, f := range reflect.VisibleFields(of) {
		switch {
		case f.Tag.Get("env") != "":
			out = append(out, variable(program, f))
		case !f.Anonymous && f.Type.Kind() == reflect.Struct && len(f.Index) == 1:
			for _, v := range table(program, f.Type) {
				v.index = append(slices.Clone(f.Index), v.index...)
				out = append(out, v)
			}
		}
	}
	return out
}

func variable(program string, f reflect.StructField) Variable {
	v := Variable{
		Name: f.Tag.Get("env"), Default: f.Tag.Get("envDefault"), Absent: f.Tag.Get("absent"),
		Unit: f.Tag.Get("unit"), Doc: f.Tag.Get("doc"), Secret: f.Tag.Get("secret") == "true",
		Programs: []string{program}, field: f.Name, index: f.Index,
		min: f.Tag.Get("min"), max: f.Tag.Get("max"), values: f.Tag.Get("values"),
	}
	if v.min != "" && v.Unit != "" {
		v.Unit += ", " + v.min + " to " + v.max
	}
	if v.values != "" {
		v.Unit = strings.ReplaceAll(v.values, "|", ", ")
	}
	if demo := f.Tag.Get("demo"); demo != "" && program == ProgramDemo {
		v.Default, v.Absent = "", demo
	}
	return v
}

// Variables lists what a program knows, or what all of them know where program is empty. A variable of
// several programs appears once; what a program doesn't say of it itself is said where it comes first.
func Variables(program string) []Variable {
	var all, own []Variable
	for _, v := range allTables() {
		i := slices.IndexFunc(all, func(o Variable) bool { return o.Name == v.Name })
		if i < 0 {
			i = len(all)
			all = append(all, v)
		} else if !slices.Contains(all[i].Programs, v.Programs[0]) {
			all[i].Programs = append(all[i].Programs, v.Programs[0])
		}
		if v.Programs[0] == program && !slices.ContainsFunc(own, func(o Variable) bool { return o.Name == v.Name }) {
			first := all[i]
			v.Unit, v.Doc = cmp.Or(v.Unit, first.Unit), cmp.Or(v.Doc, first.Doc)
			if v.Default == "" {
				v.Absent = cmp.Or(v.Absent, first.Absent)
			}
			own = append(own, v)
		}
	}
	if program == "" {
		return all
	}
	return own
}

func allTables() []Variable {
	return slices.Concat(
		table(ProgramAPI, reflect.TypeFor[API]()),
		table(ProgramDemo, reflect.TypeFor[API]()),
		table(ProgramDemo, reflect.TypeFor[Sim]()),
		table(ProgramSender, reflect.TypeFor[Sender]()),
		table(ProgramSim, reflect.TypeFor[Sim]()),
	)
}
