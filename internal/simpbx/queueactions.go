package simpbx

var queueActions = []action{}
