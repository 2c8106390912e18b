"""What a Jacobian is asked for, what each way would cost, and the plan that follows."""
